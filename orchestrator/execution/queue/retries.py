"""Which errors are not tried again, because the next attempt would raise them again. Pure.

A trial fails again with certainty if the error comes from the shapes and types in the code: a wrong argument, a missing attribute,
matrices that cannot be multiplied. It may succeed if the error comes from the machine: memory, a GPU, a file, a lost process. In doubt
the trial is tried again: a wasted attempt costs minutes, and a trial that is given up costs a result.
"""

import re
import traceback
from collections.abc import Iterator

LASTING = (
    AttributeError,
    IndexError,
    KeyError,
    NameError,
    NotImplementedError,
    TypeError,
    UnboundLocalError,
    ValueError,
)
"""Types of errors in the code. Subclasses do not count: pyarrow's errors of remote files are ValueErrors."""
OF_SHAPES = re.compile(
    r"shapes? cannot be multiplied|must match the size of tensor|must match except in dimension|is invalid for input of size"
    r"|size mismatch|shape mismatch|expects? each tensor to be equal size|same number of dimensions|inconsistent tensor size"
    r"|expected input\[.*\] to have \d+ channels|expected \d+D\b|kernel size can't be greater"
    r"|given normalized_shape|running_\w+ should contain|must have the same dtype|expected scalar type|expected m1 and m2"
    r"|expanded size of the tensor|can only be broadcast|not broadcastable|same reduction dim"
    r"|expected size for first two dimensions|dimension out of range",
    re.IGNORECASE,
)
"""Torch's texts in a RuntimeError of shapes and types. Its other RuntimeErrors may come from the device."""
OF_THE_MACHINE = re.compile(r"out of memory|cuda|cudnn|cublas|nccl|hip error|device-side", re.IGNORECASE)
STORAGE_CODE = re.compile(r"[/\\](mopoe_core[/\\]storage|orchestrator[/\\]ledger)[/\\]")
"""Paths of code in which any error may come from a file or a network: fsspec raises KeyErrors and ValueErrors for lost connections."""


def fails_again(error: BaseException) -> bool:
    """Returns whether another attempt would end with the same error."""
    chain = list(_chain(error))
    return _is_lasting(error) and all(map(_is_of_the_code, chain)) and not any(map(_passed_storage, chain))


def _is_lasting(error: BaseException) -> bool:
    return type(error) in LASTING or (type(error) is RuntimeError and OF_SHAPES.search(str(error)) is not None)


def _is_of_the_code(error: BaseException) -> bool:
    """Returns whether an error does not come from the machine. Errors of the machine may be the cause of other errors."""
    return not isinstance(error, OSError | MemoryError) and not OF_THE_MACHINE.search(f"{type(error).__name__}: {error}")


def _passed_storage(error: BaseException) -> bool:
    return any(STORAGE_CODE.search(frame.filename) for frame in traceback.extract_tb(error.__traceback__))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yields an error, its cause, the cause of that, and so on."""
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
