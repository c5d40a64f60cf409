"""Every model of `mopoe_core.family.members`, by name, in the order of legends: the paper's first. Pure: no torch."""

from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from mopoe_core.family import members
from mopoe_core.family.model_card import ModelCard


def _registered() -> dict[str, ModelCard]:
    cards: list[ModelCard] = [
        import_module(f"{members.__name__}.{module.name}").MODEL for module in iter_modules(members.__path__)
    ]
    return {card.name: card for card in sorted(cards, key=lambda card: card.place)}


MODELS = _registered()
ALIASES: dict[str, dict[str, Any]] = {
    name: {"model": card.name, **alias.fields} for card in MODELS.values() for name, alias in card.aliases.items()
}
"""Model names that stand for a model with settings. Eq. (5) is MoPoE with every component decoded."""
TITLES = {name: known.title for card in MODELS.values() for name, known in card.names.items()}
"""Titles of models and aliases, as tables write them."""
PAPER_MODELS = tuple(card.name for card in MODELS.values() if card.in_paper)
"""The models that the paper compares, in its order."""
PAPER_NAMES = tuple(name for card in MODELS.values() for name, known in card.names.items() if known.in_paper)
"""What the paper trains: its models, and `eq5` for its Eq. (5)."""
