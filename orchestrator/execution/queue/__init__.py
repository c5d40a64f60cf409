"""Which job is next, and what is tried again. Knows nothing of Ray, and trains nothing."""
