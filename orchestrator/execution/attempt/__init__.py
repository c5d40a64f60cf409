"""One attempt at a stack of trials, and what it needs first. Knows nothing of Ray."""
