"""How fast steps, stacks, evaluations and sweeps are, against the reference."""
