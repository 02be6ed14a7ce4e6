"""Faults injected into real processes while agents and people work, and what is checked after.

`python -m tests.chaos --seed 1` runs it. Everything is seen from outside: HTTP, Redis, and at
the end the database. Of the product only the search for a redis-server is imported.
"""
