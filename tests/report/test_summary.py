"""The sentences at the top of the page, and the samples as the page shows them."""

import base64
import io
import re
from itertools import combinations

import numpy as np
import pytest
from PIL import Image

from mopoe_core.metrics.picture_layout import GAP, GRID, SAMPLES
from orchestrator.analysis.comparable_groups import groups_of
from orchestrator.analysis.fronts import front
from orchestrator.report.sections import group_section, picture_section, seed_section, summary_section
from orchestrator.spec.proper_names import proper
from orchestrator.spec.sweep_file import parse
from tests.support.builders import COHERENCE, LIKELIHOOD, PAGE, grid_results, result

TILE = 12
TWO_GROUPS = {"test_examples": [500, 1000], "model": ["mvae", "mmvae", "mopoe"], "beta": [0.5]}


def summary(tmp_path, seeds, results=None, states=None, **changes):
    """The sentences on the sweep of `PAGE`, with changes."""
    spec = parse(PAGE | {"seeds": seeds} | changes)
    results = grid_results(spec.cells, seeds) if results is None else results
    done = {one.trial.id for one in results}
    states = states or {trial.id: "completed" if trial.id in done else "pending" for trial in spec.trials}
    analysis = group_section.analysed(spec, groups_of(spec, results))
    shown = seed_section.write(analysis, tmp_path, unequal=False)
    fronts = [(part.group.label, part.front) for part in analysis.groups]
    return summary_section.sentences(fronts, shown, states)


def test_the_first_sentence_names_the_front_and_who_is_best_in_what(tmp_path):
    """As the front itself has it, found by comparing all cells with all."""
    spec = parse(PAGE)
    first = summary(tmp_path, 3)[0]
    drawn = front(spec.objectives, spec.cells, spec.seeds_by_cell, grid_results(spec.cells, 3))
    named = set(re.findall(r"(\w+ β=[\d.]+)", first))
    better = [
        point
        for point in drawn.points
        if not any(
            other.means != point.means and all(a >= b for a, b in zip(other.means, point.means, strict=True))
            for other in drawn.points
        )
    ]
    assert named == {proper(point.label) for point in better}
    best = max(better, key=lambda point: point.means[0])
    assert f"{proper(best.label)} (best coherence/joint, {best.means[0]:.3f}" in first
    beaten = {proper(point.series) for point in drawn.points} - {proper(point.series) for point in better}
    assert all(f"No cell of {model}" in first for model in beaten)


@pytest.mark.parametrize(("seeds", "told"), [(2, False), (6, False), (7, True)])
def test_the_second_says_what_the_seeds_tell_apart(tmp_path, seeds, told):
    """Three pairs need seven seeds: 3 x 2 / 2^6 is above 5 %, and 3 x 2 / 2^7 is not."""
    second = summary(tmp_path, seeds)[1]
    assert ("cannot tell" in second) is not told
    assert ("at least 7 seeds" in second) is not told
    assert ("is better than" in second) is told


def test_models_are_told_apart_within_each_group(tmp_path):
    """In two groups with opposite orders of the models, the sentence of a group has the order of its own cells."""
    best_first = {500: ("mopoe", "mmvae", "mvae"), 1000: ("mvae", "mmvae", "mopoe")}
    results = [
        result(
            trial.cell,
            trial.seed,
            {
                COHERENCE: 0.5 - 0.1 * best_first[trial.config.test_examples].index(trial.config.model),
                LIKELIHOOD: -1900 - trial.seed,
            },
        )
        for trial in parse(PAGE | {"seeds": 7, "grid": TWO_GROUPS}).trials
    ]
    told = summary(tmp_path, 7, results, grid=TWO_GROUPS)
    for size, models in best_first.items():
        (sentence,) = [one for one in told if f"test_examples={size}" in one.partition(":")[0] and "is better than" in one]
        pairs = set(re.findall(r"(\w+) is better than (\w+)", sentence))
        assert pairs == {(proper(better), proper(worse)) for better, worse in combinations(models, 2)}


def test_the_seeds_that_are_needed_follow_from_the_pairs_of_one_group(tmp_path):
    """Two groups of three pairs need seven seeds each, although six pairs together would need eight."""
    told = "\n".join(summary(tmp_path, 6, grid=TWO_GROUPS))
    assert re.findall(r"at least (\d+) seeds", told) == ["7", "7"]


def test_the_third_says_what_is_incomplete(tmp_path):
    """Of complete sweeps that nothing is; else how many trials are what, and which cells are left out."""
    spec = parse(PAGE)
    assert summary(tmp_path, 3)[2] == "All 18 trials have completed."
    results = grid_results(spec.cells, 3)[:-1]
    third = summary(tmp_path, 3, results)[2]
    assert "17 of 18" in third
    assert "1 pending" in third
    assert "MoPoE β=2.5" in third
    none = summary(tmp_path, 3, [])
    assert "no front" in none[0]
    assert "0 of 18" in none[2]


def test_names_are_proper_only_where_they_are_names():
    """Of models in labels and sentences; not in paths, fields or longer words."""
    assert proper("mopoe beta=2.5") == "MoPoE β=2.5"
    assert proper("mvae's hypervolume is lower than mmvae's: 3.") == "MVAE's hypervolume is lower than MMVAE's: 3."
    assert proper("runs/mvae/x.py mvae.yaml model=mvae mvae_b amvae") == "runs/mvae/x.py mvae.yaml model=mvae mvae_b amvae"


def colours(rows, columns, first):
    """A grid of tiles, each of one colour that tells its place, with a white line after each tile."""
    pixels = np.full((rows * (TILE + 1), columns * (TILE + 1), 3), 255, np.uint8)
    for row in range(rows):
        for column in range(columns):
            top, left = row * (TILE + 1), column * (TILE + 1)
            pixels[top : top + TILE, left : left + TILE] = (20 * column, 10 * (first + row), 0)
    return pixels


def test_samples_are_cut_into_modalities_side_by_side(tmp_path):
    """Each strip has the tiles of its modality, in their order; given test examples stand apart from what was drawn."""
    spec = parse(PAGE | {"seeds": 1})
    results = grid_results(spec.cells, 1)
    given = np.concatenate(
        [colours(1, GRID, 0), np.full((GAP, GRID * (TILE + 1), 3), 128, np.uint8), colours(3 * SAMPLES, GRID, 1)], 0
    )
    gap = np.full((GRID * (TILE + 1), GAP, 3), 255, np.uint8)
    prior = np.concatenate([colours(GRID, GRID, 0), gap, colours(GRID, GRID, 5), gap, colours(GRID, GRID, 10)], 1)
    Image.fromarray(given).save(tmp_path / "given_svhn.png")
    Image.fromarray(prior).save(tmp_path / "unconditional.png")
    (tmp_path / "given_text.png").write_bytes(b"cut")
    samples = {one.trial.id: {path.stem: path for path in tmp_path.glob("*.png")} for one in results}
    ((_, tables),) = picture_section.tables(spec, results, samples, groups_of(spec, results).groups)
    assert [table.caption for table in tables] == ["Drawn from the prior", "Given svhn", "Given text"]
    of_prior, of_svhn, damaged = tables
    assert of_prior.models == ("MVAE β=2.5, seed 0", "MMVAE β=2.5, seed 0", "MoPoE β=2.5, seed 0")
    assert [row.modality for row in of_svhn.rows] == ["mnist", "svhn", "text"]
    assert [row.examples is not None for row in of_svhn.rows] == [False, True, False]
    assert seen(of_svhn.rows[1].examples, 1) == [[(column, 0) for column in range(picture_section.COLUMNS)]]
    for place, (drawn, of_subset) in enumerate(zip(of_prior.rows, of_svhn.rows, strict=True)):
        assert seen(drawn.generated[0], SAMPLES) == places(5 * place)
        assert seen(of_subset.generated[2], SAMPLES) == places(1 + SAMPLES * place)
    assert all(strip is None for row in damaged.rows for strip in row.generated)


def places(first):
    """Column and row of each tile of a strip whose first row is this one."""
    return [[(column, first + row) for column in range(picture_section.COLUMNS)] for row in range(SAMPLES)]


def seen(strip, rows):
    """Column and row of each tile of a strip, from the colours in the middle of its tiles."""
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(strip.uri.partition(",")[2]))).convert("RGB"), int)
    assert pixels.shape[:2] == (strip.height, strip.width) == (rows * (TILE + 1) - 1, picture_section.COLUMNS * (TILE + 1) - 1)
    middles = pixels[TILE // 2 :: TILE + 1, TILE // 2 :: TILE + 1]
    return [[(round(red / 20), round(green / 10)) for red, green, _ in row] for row in middles.tolist()]
