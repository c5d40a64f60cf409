"""What a sweep does from lease to report, and what keeps or repeats its trials."""
