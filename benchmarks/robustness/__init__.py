"""Tests of what a sweep survives: kills, storage errors, and any order of two workers' steps."""
