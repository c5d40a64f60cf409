"""Shows how a sweep is doing, while it runs and after."""
