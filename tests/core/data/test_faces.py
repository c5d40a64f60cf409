"""Drawn faces."""

import numpy as np
import pytest

from mopoe_core.data.celeba.attributes import DRAWN
from mopoe_core.data.celeba.drawn_faces import faces
from mopoe_core.data.celeba.face_attributes import HAIR_COLOURS, NOT_WITH_BALD, sample_attributes
from tests.support.naming import naming

PLACES = {
    "Bangs": (4, 32), "Bushy_Eyebrows": (10, 34), "Eyeglasses": (12, 42), "Goatee": (34, 60), "Mouth_Slightly_Open": (29, 52),
    "Mustache": (26, 50), "Narrow_Eyes": (15, 39), "Rosy_Cheeks": (20, 50), "Smiling": (26, 52), "Wearing_Earrings": (22, 56),
    "Wearing_Hat": (0, 34), "Wearing_Lipstick": (28, 54), "Wearing_Necktie": (38, 64),
}  # fmt: skip
"""Rows of the picture, from and to, between which an attribute shows, wherever the head is."""


def with_only(*names, count=30):
    """Returns `count` rows with these attributes and no others."""
    return np.tile(np.isin(DRAWN, names).astype(np.uint8), (count, 1))


def difference(*names, seed=0):
    """Returns (30, 64, 64): by how many grey levels these attributes change faces without attributes."""
    return np.abs(faces(with_only(*names), seed).astype(int) - faces(with_only(), seed)).max(1)


def test_pictures_are_rgb_bytes_of_celebas_size():
    """N rows give N pictures of 3 x 64 x 64 bytes."""
    pictures = faces(sample_attributes(10, np.random.default_rng(0)), 1)
    assert (pictures.shape, pictures.dtype) == ((10, 3, 64, 64), np.uint8)


def test_a_face_depends_on_seed_place_and_attributes_only():
    """Equal calls give equal bytes, fewer rows a prefix, another row another picture there only, and another seed other pictures."""
    attributes = sample_attributes(12, np.random.default_rng(0))
    pictures = faces(attributes, 1)
    assert np.array_equal(pictures, faces(attributes, 1))
    assert np.array_equal(pictures[:5], faces(attributes[:5], 1))
    attributes[3] = with_only("Bald", "Goatee")[0]
    assert (pictures != faces(attributes, 1)).any((1, 2, 3)).nonzero()[0].tolist() == [3]
    assert (pictures != faces(attributes, 2)).any((1, 2, 3)).all()


def test_faces_with_the_same_attributes_differ():
    """Any two of them differ by at least 5 grey levels on average."""
    pictures = faces(with_only("Smiling", "Brown_Hair"), 0).astype(int)
    between = np.abs(pictures[:, None] - pictures[None]).mean((2, 3, 4))
    assert between[~np.eye(len(pictures), dtype=bool)].min() > 5


@pytest.mark.parametrize("name", PLACES)
def test_an_attribute_shows_at_its_place_and_nowhere_else(name):
    """With the same seed, at least ten pixels of each face change by 20 grey levels, all in the rows of its place."""
    changed = difference(name)
    top, bottom = PLACES[name]
    assert ((changed > 20).sum((1, 2)) >= 10).all()
    assert not changed[:, :top].any()
    assert not changed[:, bottom:].any()


@pytest.mark.parametrize("name", sorted(set(DRAWN) - set(PLACES)))
def test_an_attribute_of_hair_skin_or_wall_changes_much_of_the_picture(name):
    """One pixel in twenty changes by 20 grey levels in each face."""
    assert ((difference(name) > 20).mean((1, 2)) > 0.05).all()


def test_hair_and_wall_leave_the_middle_of_the_face_alone():
    """Hair colour, a bald head and a dark wall change nothing at the nose."""
    for name in ("Bald", "Dark_Background", *HAIR_COLOURS):
        assert not difference(name)[:, 30:34, 30:34].any()


def test_pale_skin_is_lighter_and_a_dark_wall_darker():
    """In each pair of pictures, the pixels at the nose and in the corner differ as the names say."""
    plain, pale, dark = (
        faces(with_only(*names), 4).astype(float).mean(1) for names in ((), ("Pale_Skin",), ("Dark_Background",))
    )
    assert (pale[:, 28:36, 28:36].mean((1, 2)) > plain[:, 28:36, 28:36].mean((1, 2))).all()
    assert (dark[:, :4, :4].mean((1, 2)) < plain[:, :4, :4].mean((1, 2)) - 40).all()


def test_hair_has_the_colour_that_is_named():
    """Above the forehead, black is darkest, gray has no hue, blond is yellow, and brown is dark with red over green over blue."""
    band = {name: np.median(faces(with_only(name, count=60), 0)[:, :, 10:16, 28:36], (0, 2, 3)) for name in HAIR_COLOURS}
    assert band["Black_Hair"].max() < 60
    assert np.ptp(band["Gray_Hair"]) < 25 < 120 < band["Gray_Hair"].min()
    assert band["Blond_Hair"][:2].min() > 140 > band["Blond_Hair"][2]
    assert 130 > band["Brown_Hair"][0] > band["Brown_Hair"][1] > band["Brown_Hair"][2]


def test_sampled_attributes_can_be_drawn_and_are_as_common_as_in_celeba():
    """At most one hair colour; none, no bangs and no hat on a bald head; the rarest has 5 to 9 %, the commonest 40 to 50 %."""
    sampled = sample_attributes(20_000, np.random.default_rng(0))
    has = {name: sampled[:, i] == 1 for i, name in enumerate(DRAWN)}
    assert set(np.unique(sampled)) == {0, 1}
    assert sum(has[name].astype(int) for name in HAIR_COLOURS).max() == 1
    assert not any((has["Bald"] & has[name]).any() for name in NOT_WITH_BALD)
    shares = sorted(sampled.mean(0))
    assert 0.05 < shares[0] < 0.09
    assert 0.40 < shares[-1] < 0.50


@pytest.mark.parametrize(
    ("attributes", "named"),
    [
        (np.zeros((2, 19), int), ("(2, 19)", "(N, 20)")),
        (with_only() * 0 + 2, (0, 1)),
        (with_only("Black_Hair", "Gray_Hair"), ("face 0", "Black_Hair", "Gray_Hair")),
        (with_only("Bald", "Wearing_Hat"), ("face 0", "Bald", "Wearing_Hat")),
    ],
)
def test_attributes_that_cannot_be_drawn_are_refused(attributes, named):
    """The error names the shape, the allowed values, or the face and its attributes."""
    with pytest.raises(ValueError, check=naming(*named)):
        faces(attributes, 0)
