"""What results say: means, fronts, differences, tests. Pure."""
