"""Which cell a search tries next."""
