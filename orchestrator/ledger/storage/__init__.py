"""The storage as a whole: its identity, whether it can be relied on, and the files that killed processes left behind."""
