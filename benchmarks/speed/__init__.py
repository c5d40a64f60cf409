"""Speed of steps, stacks, evaluations and sweeps, compared with the reference."""
