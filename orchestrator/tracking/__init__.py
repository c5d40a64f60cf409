"""Copies of the ledger in experiment trackers, such as MLflow."""
