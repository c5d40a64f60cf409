"""How time and memory grow with trials, subsets and ledgers."""
