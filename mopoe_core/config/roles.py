"""The roles of the configuration's fields. Each field has its role in its annotation. Pure."""

from enum import Flag, auto


class Role(Flag):
    """Roles of one field; `NONE` if it has none of them. Every field is part of the identity, whatever its role."""

    NONE = 0
    STACKABLE = auto()
    """The trials of one stack may differ in it, because it changes only numbers, and not the shape of a network or a batch."""
    NO_EFFECT_ON_SPEED = auto()
    """It is the same for all trials of a stack, and does not change how fast a step is."""
    LABELLED = auto()
    """A cell's label names it if it is not the default. The other fields rarely differ within a sweep."""
    SIZE = auto()
    """A scale fixes it. A configuration with a scale and another value of the field is refused."""
    COMPARISON_KEY = auto()
    """It decides what the metrics mean. Cells that differ in it are not compared, and no search varies it."""
    OBJECTIVE = auto()
    """It belongs to the objective, in which the paper compares models. The cells of one group of the report may differ in it."""
    GROUP_LABELLED = auto()
    """The label of every group of the report names it."""
