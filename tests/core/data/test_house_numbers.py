"""Drawn house numbers."""

import numpy as np
import pytest

from mopoe_core.data.mnist_svhn_text.drawn_house_numbers import house_numbers
from tests.support.naming import naming

LABELS = np.arange(20) % 10


def test_pictures_are_rgb_bytes_of_svhns_size():
    """N labels give N pictures of 3 x 32 x 32 bytes."""
    pictures = house_numbers(LABELS, 1)
    assert (pictures.shape, pictures.dtype) == ((20, 3, 32, 32), np.uint8)


def test_a_picture_depends_on_seed_place_and_label_only():
    """The same call gives the same bytes, fewer labels a prefix, and another seed other pictures."""
    pictures = house_numbers(LABELS, 1)
    assert np.array_equal(pictures, house_numbers(LABELS, 1))
    assert np.array_equal(pictures[:5], house_numbers(LABELS[:5], 1))
    assert not np.array_equal(pictures, house_numbers(LABELS, 2))


def test_pictures_of_one_digit_differ():
    """No two pictures of a digit are alike, and none is blank."""
    pictures = house_numbers(np.full(30, 4), 0)
    assert len({picture.tobytes() for picture in pictures}) == 30
    assert (pictures.reshape(30, -1).std(1) > 3).all()


def test_a_label_that_is_no_digit_is_refused():
    """The error names the value."""
    with pytest.raises(ValueError, check=naming(10)):
        house_numbers(np.array([3, 10]), 0)
