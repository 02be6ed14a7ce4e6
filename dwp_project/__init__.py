"""Settings, the ASGI application and the edge of the project; and its version."""

# The one place: the API description and `manage.py serve --version` read it here.
__version__ = "0.1.0"
