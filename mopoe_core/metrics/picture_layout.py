"""How the pictures of `mopoe_core.metrics.pictures` are laid out, for whoever takes them apart. Pure: no torch."""

GAP = 4
"""Pixels between two blocks of tiles."""
GRID = 10
"""Examples, columns of a grid; and rows of what is drawn from the prior."""
SAMPLES = 3
"""Rows of samples a modality, of what is drawn given a subset."""
