"""What is known about every trial, as files on storage."""
