"""How a sweep does, for those who watch it."""
