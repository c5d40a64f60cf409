"""Draws from a search's space until a draw is a valid cell."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from orchestrator.errors import Mistake, SpecError
from orchestrator.ledger.proposals import Proposal
from orchestrator.search.study import Study
from orchestrator.spec.trial import Cell
from orchestrator.spec.yaml_reader import dotted

MOST_IMPOSSIBLE = 100
"""A command gives up after this number of draws in a row that are no valid cells."""


def possible_draw(
    study: Study,
    check: Callable[[Proposal], None],
    cell_of: Callable[[dict[str, Any]], Cell],
    refuse: Callable[[Proposal, Mistake], None],
) -> tuple[Proposal, Cell] | None:
    """Returns a draw and its cell; None if a grid has no more cells.

    `check` is called with each draw, and may raise an error. `refuse` is called with each impossible draw before the next one.

    `plan` refuses spaces by their corners only, so a draw from within can be impossible. Raises SpecError after `MOST_IMPOSSIBLE`
    such draws.
    """
    refused: list[Mistake] = []
    while len(refused) < MOST_IMPOSSIBLE:
        drawn = study.ask()
        if drawn is None:
            return None
        check(drawn)
        try:
            return drawn, cell_of(drawn.fields)
        except SpecError as error:
            refused.append(_with_whole_place(error.mistakes[0]))
        refuse(drawn, refused[-1])
    text = f"{refused[-1].text}; the last {MOST_IMPOSSIBLE} draws were all impossible; narrow the space"
    raise SpecError(replace(refused[-1], text=text))


def _with_whole_place(mistake: Mistake) -> Mistake:
    """Returns the mistake of a cell with the whole place of its field in the file: `search.space.beta` in place of `search.beta`."""
    return replace(mistake, text=f"{dotted(mistake.at)}: {mistake.text.partition(': ')[2]}")
