"""Datasets of the user's own: what their files import.

Both names load at their first use: a command that only asks whose code may run imports this package, and must answer without numpy.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mopoe_core.data.own.own_dataset import OwnDataset, OwnModality

__all__ = ["OwnDataset", "OwnModality"]


def __getattr__(name: str) -> Any:
    """`OwnDataset` or `OwnModality`."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from mopoe_core.data.own import own_dataset

    return getattr(own_dataset, name)
