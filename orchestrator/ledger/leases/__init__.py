"""Who trains a trial and who drives a sweep."""
