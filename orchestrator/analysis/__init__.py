"""Computes means, fronts, differences and tests from results. Pure."""
