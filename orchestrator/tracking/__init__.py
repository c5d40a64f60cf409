"""Projections of the ledger into experiment trackers."""
