"""Every model of `mopoe_core.family.members` by name. The order is that of legends: the paper's models first. Pure: no torch."""

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
"""The fields that an alias of a model stands for. For example, `eq5` is MoPoE with every component decoded."""
TITLES = {name: card_or_alias.title for card in MODELS.values() for name, card_or_alias in card.names.items()}
"""Titles of models and aliases in tables."""
PAPER_MODELS = tuple(card.name for card in MODELS.values() if card.in_paper)
"""The models that the paper compares, in its order."""
PAPER_NAMES = tuple(name for card in MODELS.values() for name, card_or_alias in card.names.items() if card_or_alias.in_paper)
"""The models and aliases that the paper trains; `eq5` is its Eq. (5)."""
