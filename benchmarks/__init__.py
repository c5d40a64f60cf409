"""Yardsticks: the models again as ordinary research code writes them, and what the package's own code is measured against."""
