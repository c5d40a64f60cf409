"""Measures how time and memory grow with trials, subsets and ledgers."""
