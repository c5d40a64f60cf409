"""The models, networks, evaluation and trials again, as ordinary research code writes them."""
