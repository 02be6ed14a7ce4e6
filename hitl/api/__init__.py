"""REST: parse, authorise, call the services, render (docs/reference/wire.md, 3)."""
