"""Reads and writes files in folders and object stores; a reader sees a whole file or none."""
