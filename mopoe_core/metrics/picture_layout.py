"""The layout of the pictures of `mopoe_core.metrics.pictures`, for code that cuts them up. Pure: no torch."""

GAP = 4
"""Pixels between two blocks of tiles."""
GRID = 10
"""Columns of a grid, one for each example; also the rows of draws from the prior."""
SAMPLES = 3
"""Rows of samples for each modality, in a picture of what is generated given a subset."""
