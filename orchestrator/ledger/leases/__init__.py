"""Leases: who trains a trial, and who drives a sweep."""
