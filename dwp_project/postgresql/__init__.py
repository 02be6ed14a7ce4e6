"""The database backend that settings name for PostgreSQL; Django wants one to be a package."""
