"""REST of sessions, and the paths of the stream (docs/reference/wire.md, 4)."""
