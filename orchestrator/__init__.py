"""Schedules, records, compares: sweeps of seeds, betas, models and datasets on Ray, with MLflow as the window and files as the truth."""
