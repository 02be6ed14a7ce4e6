"""The operators' desk: the inbox, one request in full, many at once, and their live streams."""
