"""Tests over seeds: p-values, their corrections, and what they decide. Pure."""
