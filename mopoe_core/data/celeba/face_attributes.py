"""Draws plausible attributes of faces at random, and checks that no two exclude each other."""

import numpy as np
from numpy.typing import NDArray

from mopoe_core.data.celeba.attributes import DRAWN

HAIR_COLOURS = ("Black_Hair", "Blond_Hair", "Brown_Hair", "Gray_Hair")
NOT_WITH_BALD = (*HAIR_COLOURS, "Bangs", "Wearing_Hat")
COMMONNESS = {
    "Bald": 0.07, "Bangs": 0.22, "Bushy_Eyebrows": 0.20, "Eyeglasses": 0.08, "Goatee": 0.08, "Mouth_Slightly_Open": 0.48,
    "Mustache": 0.07, "Narrow_Eyes": 0.15, "Pale_Skin": 0.08, "Rosy_Cheeks": 0.08, "Smiling": 0.48, "Wearing_Earrings": 0.20,
    "Wearing_Hat": 0.08, "Wearing_Lipstick": 0.50, "Wearing_Necktie": 0.08, "Dark_Background": 0.40,
}  # fmt: skip
"""Probability of each attribute before exclusions; hair colours are drawn from `HAIR_COMMONNESS`."""
HAIR_COMMONNESS = (0.27, 0.18, 0.24, 0.08, 0.23)
"""Probabilities of the hair colours black, blond, brown, gray, and none of them (red or dyed)."""


def sample_attributes(count: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Returns plausible attributes (count, 20), zeros and ones in the order of `attributes.DRAWN`.

    They are independent except for the exclusions: at most one hair colour; none, no bangs and no hat on a bald head; no lipstick with a
    moustache or goatee.
    """
    drawn = {name: rng.random(count) < COMMONNESS.get(name, 0) for name in DRAWN}
    colour = rng.choice(len(HAIR_COMMONNESS), count, p=HAIR_COMMONNESS)
    for i, name in enumerate(HAIR_COLOURS):
        drawn[name] = colour == i
    for name in NOT_WITH_BALD:
        drawn[name] &= ~drawn["Bald"]
    drawn["Wearing_Lipstick"] &= ~(drawn["Mustache"] | drawn["Goatee"])
    return np.stack([drawn[name] for name in DRAWN], 1).astype(np.uint8)


def check(attributes: NDArray[np.integer]) -> None:
    """Raises ValueError for a wrong shape or value, or for attributes that exclude each other."""
    if attributes.ndim != 2 or attributes.shape[1] != len(DRAWN):
        raise ValueError(f"attributes: the shape is {attributes.shape}; expected (N, {len(DRAWN)})")
    if not np.isin(attributes, (0, 1)).all():
        raise ValueError("attributes: a value is neither 0 nor 1")
    column = {name: attributes[:, i] > 0 for i, name in enumerate(DRAWN)}
    hair = np.stack([column[name] for name in HAIR_COLOURS])
    wrong = (hair.sum(0) > 1) | (column["Bald"] & np.stack([column[name] for name in NOT_WITH_BALD]).any(0))
    if wrong.any():
        names = [name for name in DRAWN if column[name][wrong.argmax()]]
        raise ValueError(f"attributes: face {wrong.argmax()} cannot have all of {', '.join(names)}")
