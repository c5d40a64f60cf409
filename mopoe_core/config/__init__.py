"""What determines a trained model: its fields, presets and choices."""
