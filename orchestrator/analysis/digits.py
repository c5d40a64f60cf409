"""Numbers as a reader can use them: with the digits that their spread supports. Pure."""

import math


def spelled_alike(spread: float, *numbers: float) -> list[str]:
    """The numbers with as many decimals as show two digits of `spread`, at most six; a number that is not one is a dash.

    Where there is no spread, three decimals for numbers below 10 and one for others, as in the tables.
    """
    if spread > 0:
        places = min(6, max(0, 1 - math.floor(math.log10(spread))))
    else:
        places = 1 if any(abs(number) >= 10 for number in numbers) else 3
    return ["–" if math.isnan(number) else f"{number:.{places}f}".replace("-", "−") for number in numbers]
