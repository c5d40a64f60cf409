"""A dataset of the user's own that a test sets for itself: the fixture `card_of` sets it, and `HERE` is the name that it then has."""

HERE = f"{__name__}:made"
