"""Which job is next, and which trials are tried again. Imports nothing of Ray, and trains nothing."""
