"""What a field of the configuration is beside a part of the identity. Each field says it in its annotation. Pure."""

from enum import Flag, auto


class Role(Flag):
    """Roles of one field; `NONE` where it has none of them."""

    NONE = 0
    STACKABLE = auto()
    """The trials of one stack may differ in it: it changes numbers, and not the shape of a network or a batch."""
    SPEEDLESS = auto()
    """It belongs to a stack's shape, and does not change how fast its steps are."""
    LABELLED = auto()
    """A cell's label names it where it is not the default; the others rarely differ within a sweep."""
    SIZE = auto()
    """A scale fixes it: one that is written beside the scale and says otherwise is a contradiction."""
    MEANING = auto()
    """It decides what the metrics mean, so that cells which differ in it are not compared, and no search varies it."""
    OBJECTIVE = auto()
    """It belongs to the objective, in which the paper compares models: the cells of one group of the report may differ in it."""
    NAMED = auto()
    """The label of every group of the report names it."""
