"""Makes the paper's tables, figures and claims from a sweep's trials."""
