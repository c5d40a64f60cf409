"""What a sweep's numbers cannot show is said, and nothing is said of a sweep whose numbers can."""

import math
from dataclasses import replace

import pytest

from mopoe_core.metric_names import Epoch
from orchestrator.analysis import cautions
from orchestrator.analysis.comparable_groups import groups_of
from orchestrator.analysis.sweep_analysis import analyse
from orchestrator.spec.sweep_file import parse
from tests.support.builders import COHERENCE, LIKELIHOOD, PAGE, grid_results, metric, result

TRAINED = [100.0 * 0.5**epoch + 5 for epoch in range(20)]


def said(results, spec=None, **changes):
    """The sentences on a sweep of these results."""
    spec = spec or parse(PAGE | changes)
    grouped = groups_of(spec, results)
    return cautions.sentences(analyse(spec, grouped, {cell.id for cell in spec.cells}))


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
    assert cautions.is_undertrained(losses) is expected


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
