"""The exit codes of the commands."""

DONE = 0
"""The command did what it was asked. A `status --watch` that Ctrl-C ends is done, too."""
UNFINISHED = 1
"""Something is left, and the same command again may do it: trials have not ended, MLflow took not everything, storage failed for a
while. Of `audit`: a trial is not what is recorded.
"""
USER_ERROR = 2
"""The user has to mend something first: a sweep file, an option, a damaged record, a folder that must not be written."""
INTERRUPTED = 130
"""Ctrl-C ended the command before its end, as a shell reports it."""
