"""One attempt at a stack of trials, and its preparation. Imports nothing of Ray."""
