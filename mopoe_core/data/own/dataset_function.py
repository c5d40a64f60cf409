"""Calls the function that returns a user's own dataset."""

from pathlib import Path

from mopoe_core.data.own.as_arrays import in_one_line
from mopoe_core.data.own.own_dataset import OwnDataset
from mopoe_core.data.own.user_code import Code, check_permitted, imported, running, where_raised
from mopoe_core.errors import DataError


def call(reference: str, root: Path) -> OwnDataset:
    """Returns what the user's function returns. Relative names are looked for in `root`.

    Raises DataError, in one line, if the function may not run, is not found, fails or does not return an OwnDataset.
    """
    if not reference.isprintable():  # in messages and tables a line break or a terminal's code would act
        raise DataError(f"dataset: {reference!r} has characters that cannot be printed; rename the file")
    check_permitted(reference)
    code = Code(reference.rpartition(":")[0], root)
    try:
        _ = code.file
    except ValueError as error:
        raise DataError(f"dataset: {reference}: the file {error}") from None
    with running(code):
        data = _result(reference, code)
    if not isinstance(data, OwnDataset):
        raise DataError(
            f"dataset: {reference} returned {type(data).__name__}; it must return a mopoe_core.data.own.user_data.OwnDataset"
        )
    return data


def _result(reference: str, code: Code) -> object:
    place, _, name = reference.rpartition(":")
    try:
        module = imported(code)
    except (Exception, SystemExit) as error:  # whatever the user's module raises while it is imported
        raise DataError(f"dataset: {place} cannot be imported{_cause(error, code)}") from None
    function = getattr(module, name, None)
    if not callable(function):
        raise DataError(f"dataset: {place} has no function {name!r}; name one that returns an OwnDataset")
    try:
        result: object = function()
    except (Exception, SystemExit) as error:
        raise DataError(f"dataset: {reference} failed{_cause(error, code)}") from None
    return result


def _cause(error: BaseException, code: Code) -> str:
    """Returns the end of a message: where an error was raised, which error, and where a missing file was looked for."""
    searched = f"; relative names are looked for in {code.root}" if isinstance(error, FileNotFoundError) else ""
    return f"{where_raised(error, code)} ({in_one_line(error)}); correct it{searched}"
