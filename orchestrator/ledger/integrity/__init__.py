"""Checks that a trial's files are whole and belong to that trial."""
