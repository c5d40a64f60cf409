"""The configuration of a trained model: its fields, presets and checks."""
