"""The family: one objective, its losses and likelihoods, and the model."""
