"""The exit codes of the commands."""

DONE = 0
"""The command has done everything. This includes a `status --watch` that Ctrl-C ended."""
UNFINISHED = 1
"""Something is left, and the same command again may do it: trials have not ended, MLflow did not take everything, storage failed for a
while. For `audit`: a trial differs from its record.
"""
USER_ERROR = 2
"""The user has to correct something first: a sweep file, an option, a damaged record, a folder that cannot be written."""
INTERRUPTED = 130
"""Ctrl-C ended the command before its end; shells use this number, too."""
