"""Whether what the ledger has of a trial is whole and belongs to it."""
