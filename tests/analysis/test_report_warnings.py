"""What a sweep's numbers cannot show is said, and nothing is said of a sweep whose numbers can."""

import itertools
import math
from dataclasses import replace

import pytest

from mopoe_core.metric_names import AVERAGE_PRECISION, Epoch
from orchestrator.analysis import report_warnings
from orchestrator.analysis.comparable_groups import groups_of
from orchestrator.analysis.sweep_analysis import analyse
from orchestrator.spec.sweep_file import parse
from tests.support.builders import COHERENCE, LIKELIHOOD, PAGE, grid_results, metric, result
from tests.support.naming import names, unnamed

TRAINED = [100.0 * 0.5**epoch + 5 for epoch in range(20)]


def said(results, spec=None, **changes):
    """The sentences on a sweep of these results."""
    spec = spec or parse(PAGE | changes)
    grouped = groups_of(spec, results)
    return report_warnings.sentences(analyse(spec, grouped, {cell.id for cell in spec.cells}))


def with_losses(one, losses):
    """The result, with a loss an epoch."""
    return replace(
        one, history=tuple(Epoch(place + 1, 1_700_000_000_000 + place, {"train/loss": loss}) for place, loss in enumerate(losses))
    )


def healthy(seeds=3):
    """Results with nothing to warn of: trained to the end, coherent, above the reference."""
    return [with_losses(one, TRAINED) for one in grid_results(parse(PAGE).cells, seeds)]


def with_metrics(one, **more):
    """The result with further metrics, whose names have `__` for a slash."""
    added = tuple(metric(name.replace("__", "/"), value) for name, value in more.items())
    return replace(one, metrics=(*one.metrics, *added))


def test_a_sweep_with_nothing_to_warn_of_is_not_warned_of():
    """Three seeds, a loss that has settled, coherence well above chance, every cell above the reference."""
    assert said(healthy()) == []


@pytest.mark.parametrize("seeds", [1, 2, 3, 5])
def test_fewer_than_three_seeds_are_said(seeds):
    """And three are enough."""
    found = said(healthy(seeds), seeds=seeds)
    assert len(found) == (seeds < 3)
    assert all(f"{seeds} seed" in sentence for sentence in found)


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ([100.0], True),
        ([100.0, 90.0], True),
        ([100.0 - epoch for epoch in range(50)], True),
        ([100.0 * 0.5**epoch for epoch in range(20)], False),
        ([100.0 * 0.97**epoch for epoch in range(20)], True),
        ([100.0, 20.0, 20.1, 20.2, 20.3], False),
        ([5.0] * 10, False),
        ([5.0, 6.0, 7.0], False),
    ],
)
def test_a_loss_that_still_falls_steeply_is_undertraining(losses, expected):
    """An even fall is one, however long; a fall that has halved its rest many times is none, and neither is a loss that rises."""
    assert report_warnings.is_undertrained(losses) is expected


def test_undertrained_cells_are_named():
    """Only those of which a seed is."""
    results = healthy()
    results[0] = with_losses(results[0], [9.0, 8.0, 7.0])
    (sentence,) = said(results)
    assert "Undertrained" in sentence
    assert "mvae beta=0.5" in sentence
    assert "mopoe" not in sentence


@pytest.mark.parametrize(("coherence", "expected"), [(0.0102, True), (0.2, False)])
def test_joint_coherence_is_held_against_modalities_that_know_nothing_of_each_other(coherence, expected):
    """For ten even classes and three modalities that is ten times a thousandth."""
    spec = parse(PAGE)
    shares = {f"labels__{digit}": 0.1 for digit in range(10)}
    results = [
        with_metrics(
            with_losses(
                result(cell, seed, {COHERENCE: coherence if cell.config.model == "mvae" else 0.5, LIKELIHOOD: -1900.0}), TRAINED
            ),
            **shares,
        )
        for cell in spec.cells
        for seed in range(3)
    ]
    found = said(results)
    assert len(found) == expected
    assert all("(0.010" in sentence and "mvae beta=0.5, mvae beta=2.5" in sentence for sentence in found)


def test_conditional_coherence_is_held_against_the_commonest_class():
    """A target that is given does not count; one that is not, and has the share of the commonest class, does."""
    shares = {f"labels__{digit}": share for digit, share in enumerate([0.19, *[0.09] * 9])}
    results = [
        with_metrics(
            one, coherence__svhn__svhn=0.1, coherence__text__svhn=0.2 if one.trial.cell.config.beta == 0.5 else 0.6, **shares
        )
        for one in healthy()
    ]
    (sentence,) = said(results)
    assert "text → svhn" in sentence
    assert "svhn → svhn" not in sentence
    assert "(0.190)" in sentence
    assert "beta=2.5" not in sentence


FACES = {"base": {"dataset": "celeba", "networks": "small"}, "grid": {"model": ["mvae", "mopoe"]}}


def faces(precision_of):
    """Results on CelebA. `precision_of` has the average precision of each name of a coherence; labels are two fifths of the first
    attribute, and one fifth of each other.
    """
    made = []
    for of, seed in itertools.product(parse(PAGE | FACES).cells, range(3)):
        shares = {f"labels/{name}": 0.2 + 0.2 * (not place) for place, name in enumerate(of.config.attributes)}
        one = with_losses(result(of, seed, {COHERENCE: 0.9, LIKELIHOOD: -1900.0} | shares), TRAINED)
        judged = []
        for name, value in precision_of(of).items():
            kind, subset, target, *attribute = name.split("/")
            judged.append(
                replace(metric(name, value), subset=subset, target=target, attribute="".join(attribute), unit=AVERAGE_PRECISION)
            )
        made.append(replace(one, metrics=(*one.metrics, *judged)))
    return made


def test_a_mean_average_precision_is_held_against_the_mean_share_of_the_attributes():
    """A value up to two Monte-Carlo errors above it, 0.02, is at chance; a target that is given does not count."""
    low = {"coherence/image/text": 0.22, "coherence/text/image": 0.4, "coherence/image.text/text": 0.2}
    high = {name: 0.4 for name in low}
    attributes = len(parse(PAGE | FACES).cells[0].config.attributes)
    mean_share = (0.4 + 0.2 * (attributes - 1)) / attributes
    (sentence,) = said(faces(lambda of: low if of.config.model == "mvae" else high), **FACES)
    assert names(sentence, "image → text", f"({mean_share:.3f})", "mvae")
    assert unnamed(sentence, "text → image", "mopoe") == ["text → image", "mopoe"]
    assert said(faces(lambda of: high), **FACES) == []


def test_an_attributes_average_precision_is_held_against_its_own_share():
    """One of 0.35 is above chance for an attribute that a fifth of the examples have, and not for one that two fifths have."""
    first, second = parse(PAGE | FACES).cells[0].config.attributes[:2]
    (sentence,) = said(faces(lambda of: {f"coherence/image/text/{name}": 0.35 for name in (first, second)}), **FACES)
    assert names(sentence, f"image → text {first}", "(0.400)")
    assert second not in sentence
    (of_all,) = said(faces(lambda of: {"coherence/image/text": 0.2, f"coherence/image/text/{first}": 0.35}), **FACES)
    assert names(of_all, "image → text")
    assert first not in of_all


def test_cells_that_are_not_above_the_reference_are_named():
    """They add nothing to the hypervolume; a goal of min turns the comparison round."""
    at_least = {"metric": COHERENCE, "goal": "max", "reference": 0.2}
    at_most = {"metric": LIKELIHOOD, "goal": "min", "reference": 0}
    (sentence,) = said(healthy(), objectives=[at_least, at_most])
    assert "mvae beta=0.5, mvae beta=2.5" in sentence
    assert "mopoe" not in sentence


@pytest.mark.parametrize(("accuracy", "expected"), [(0.125, True), (0.9, False)])
def test_a_classifier_that_is_no_better_than_the_commonest_class_is_named(accuracy, expected):
    """With both shares."""
    measures = {"accuracy": {"mnist": 0.99, "text": accuracy}, "majority_share": {"mnist": 0.1, "text": 0.125}}
    results = [replace(one, provenance={**one.provenance, "classifiers": {"hash": "c", **measures}}) for one in healthy()]
    found = said(results)
    assert len(found) == expected
    assert all("text (12.5% right" in sentence and "mnist" not in sentence for sentence in found)


def test_incomplete_and_diverged_trials_harm_nothing():
    """A sweep without any result, and one whose losses are not numbers."""
    assert said([]) == []
    broken = [with_losses(one, [math.nan, math.nan]) for one in healthy()]
    assert said(broken) == []
