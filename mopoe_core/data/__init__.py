"""Datasets of named modalities, resident as uint8 and indexed in batches."""
