"""What a text of the program names: see `naming`."""

from tests.support.naming import STATUSES, counts, ran, unnamed

__all__ = ["STATUSES", "counts", "ran", "unnamed"]
