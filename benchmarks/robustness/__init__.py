"""What a sweep survives: kills, failing storage, every order of two drivers' steps."""
