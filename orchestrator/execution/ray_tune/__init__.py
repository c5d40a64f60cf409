"""Ray Tune as the queue's executor. Only this package imports Ray."""
