"""Bimodal CelebA: faces and the names of their attributes."""
