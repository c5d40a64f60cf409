"""Training of one trial or a stack, with checkpoints; trained models."""
