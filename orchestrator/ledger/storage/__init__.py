"""The storage itself: which one it is, whether it can be relied on, and what killed processes leave behind."""
