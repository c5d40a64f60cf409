"""Training one trial or a stack, with checkpoints."""
