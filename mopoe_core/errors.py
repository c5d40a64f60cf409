"""Errors that a user can correct.

    UserError                 one line on standard error, exit 2, no traceback
    ├── DataError             a dataset is not there, or not what it should be
    ├── ClassifierError       a classifier is too weak to judge generated samples
    ├── CheckpointError       a checkpoint is damaged, or is that of another trial
    ├── PrecisionError        a device does not compute in the precision that is asked for
    ├── SpecError             (orchestrator.errors) a sweep file that cannot be read or does not make sense
    └── LedgerError           (orchestrator.errors) storage holds something that contradicts what is asked

Every message names the field or file, the value found, what is allowed and what to do next.
"""


class UserError(Exception):
    """An error that the user can correct. The message says how."""


class DataError(UserError):
    """A dataset is not there, or not what it should be."""


class ClassifierError(UserError):
    """A classifier is too weak to judge generated samples."""


class PrecisionError(UserError):
    """A device does not compute in the precision that is asked for."""


class CheckpointError(UserError, ValueError):
    """A checkpoint is damaged, or is that of another trial."""
