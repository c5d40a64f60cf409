"""Writes the report of a sweep: tables, figures and one page."""
