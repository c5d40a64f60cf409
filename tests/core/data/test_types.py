"""Conversion of a modality's items, and batches by index: bit by bit the same numbers as by plain indexing."""

from dataclasses import replace
from itertools import product

import pytest
import torch
from torch.nn import functional as F

from mopoe_core.data.types import Modality, Split

IMAGE, TEXT, VECTOR = (
    Modality("picture", "image", (3, 4, 5)),
    Modality("word", "text", (6, 7)),
    Modality("numbers", "vector", (2,)),
)
ITEMS = {
    "picture": torch.arange(256, dtype=torch.uint8).repeat(3)[: 10 * 60].reshape(10, 3, 4, 5),
    "word": torch.randint(7, (12, 6), generator=torch.Generator().manual_seed(0)).to(torch.uint8),
    "numbers": torch.randn(5, 2, generator=torch.Generator().manual_seed(1)),
}
PLAIN = {
    "picture": lambda items: items.float() / 255,
    "word": lambda items: F.one_hot(items.long(), 7).float(),
    "numbers": lambda items: items,
}


def split():
    """Returns twenty examples that share items."""
    rows = {name: torch.arange(20) % len(items) for name, items in ITEMS.items()}
    labels = {name: torch.zeros(len(items), dtype=torch.int64) for name, items in ITEMS.items()}
    return Split((IMAGE, TEXT, VECTOR), ITEMS, labels, rows, torch.zeros(20, dtype=torch.int64))


@pytest.mark.parametrize("modality", [IMAGE, TEXT, VECTOR], ids=lambda modality: modality.name)
def test_items_become_floats_as_the_plain_formula_has_it(modality):
    """Greys are divided by 255, symbols become one-hot, vectors stay: bit by bit, in float32, in the modality's shape."""
    items = ITEMS[modality.name]
    floats = modality.to_float(items)
    assert floats.dtype == torch.float32
    assert floats.shape == (len(items), *modality.shape)
    assert torch.equal(floats, PLAIN[modality.name](items))


@pytest.mark.parametrize("shape", [(4,), (2, 4), (3, 2, 4), (0,)], ids=str)
def test_a_batch_is_its_examples(shape):
    """A batch has each example's items, bit by bit, also if the index has axes before B, as for a stack of trials."""
    index = torch.randint(20, shape, generator=torch.Generator().manual_seed(2))
    whole = split()
    for modality in whole.modalities:
        expected = PLAIN[modality.name](ITEMS[modality.name])[whole.rows[modality.name][index]]
        assert torch.equal(whole.batch(index)[modality.name], expected)
        assert expected.shape == (*shape, *modality.shape)


def test_a_symbol_beyond_the_alphabet_is_refused():
    """It raises, as F.one_hot does, and reads nothing beyond the table."""
    with pytest.raises(IndexError):
        TEXT.to_float(torch.full((1, 6), 7, dtype=torch.uint8))


def test_units_are_what_examples_share():
    """Two examples share a unit if they show the same item of a modality, or the same digit image in any modality. Texts are no units."""
    shared = {"picture": torch.tensor([4, 5, 4, 6, 5] * 4)}
    for digits in ({}, shared, shared | {"numbers": torch.tensor([7, 4, 8, 9, 10] * 4)}):
        data = replace(split(), digits=digits)
        units, rows = data.units().tolist(), {name: data.rows[name].tolist() for name in ("picture", "numbers")}
        for i, j in product(range(20), repeat=2):
            same_item = [rows[name][i] == rows[name][j] for name in rows if name not in digits]
            common_digits = {int(values[i]) for values in digits.values()} & {int(values[j]) for values in digits.values()}
            assert bool(set(units[i]) & set(units[j])) == (any(same_item) or bool(common_digits))


def test_texts_alone_have_no_units():
    """If a dataset has only text, examples count as independent."""
    assert replace(split(), modalities=(TEXT,)).units() is None
