"""The operators' desk: what waits, one request in full, and many at once."""
