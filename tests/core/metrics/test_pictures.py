"""Sample figures: texts are drawn whole."""

import numpy as np
import pytest
import torch
from torch.nn.functional import one_hot

from mopoe_core.data.celeba.celeba import ALPHABET, MODALITIES
from mopoe_core.metrics.pictures import tile_size, tiles

TEXT = MODALITIES[1]
LENGTH = TEXT.shape[0]


def drawn(text):
    """Returns a caption's tile (H, W, 3)."""
    codes = torch.tensor([[ALPHABET.index(character) for character in text]])
    return tiles(TEXT, one_hot(codes, len(ALPHABET)).float(), tile_size(MODALITIES))[0]


@pytest.mark.parametrize("letters", ["w", "i", "*", "w ", "wwwwwwww "])
def test_a_caption_of_full_length_lies_within_its_tile(letters):
    """The tile's edges stay white, and the last letter is seen: another last letter gives another picture."""
    middle = (letters * LENGTH)[: LENGTH - 2]
    tile = drawn(f"a{middle}b")
    for edge in (tile[0], tile[-1], tile[:, 0], tile[:, -1]):
        assert (edge == 255).all()
    assert not np.array_equal(tile, drawn(f"a{middle}c"))
