"""Writes numbers and tables as text."""
