"""Reference models, networks, evaluation and trials, as research code is usually written."""
