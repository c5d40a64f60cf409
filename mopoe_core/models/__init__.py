"""The objective that all models share, its losses and likelihoods, and the model itself."""
