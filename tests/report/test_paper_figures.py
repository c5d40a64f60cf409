"""The paper's figures: which are made, from what, and what can be read off them."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.container import ErrorbarContainer
from matplotlib.text import Annotation, Text
from PIL import Image

from mopoe_core.config.training_config import TrainingConfig
from mopoe_core.metric_names import AVERAGE_PRECISION, metric_names
from orchestrator.analysis.comparable_groups import front_groups
from orchestrator.analysis.model_groups import groups
from orchestrator.report.figures import curve_figures, tradeoff_figures
from orchestrator.report.figures.picture_figures import PICTURES, compose
from orchestrator.report.paper import paper_figures
from orchestrator.report.paper.paper_tables import paper_tables
from orchestrator.spec.trial import Cell
from tests.support.builders import cell, result
from tests.support.naming import unnamed

MODELS = ("mvae", "mmvae", "mopoe")
CELLS = [cell(model, beta) for model in MODELS for beta in (0.5, 2.5, 5)]


def of(dataset, model, **more):
    """A cell of another dataset, at the beta of its table."""
    return Cell(TrainingConfig.model_validate({"dataset": dataset, "networks": "small", "model": model, **more}))


POLY = [of("polymnist", model) for model in MODELS]
FACES = [of("celeba", model) for model in MODELS]


def trials(cells, seeds):
    """Every metric of every cell, drawn at random with a fixed seed."""
    chance, found = np.random.default_rng(0), []
    for one, seed in itertools.product(cells, range(seeds)):
        every = metric_names(one.config.modalities, one.config.attributes)
        values = {name: -2000 + 30 * chance.normal() if "log_likelihood" in name else chance.uniform(0.2, 0.9) for name in every}
        found.append(result(one, seed, values))
    return found


def group_of(cells, seeds=3, results=None):
    """The one group of these cells."""
    (group,) = groups(cells, range(seeds), trials(cells, seeds) if results is None else results)
    return group


def texts(figure):
    """Everything that is written in a figure, however its lines are broken."""
    return " ".join(" ".join(text.get_text() for text in figure.findobj(Text)).split())


def pictured(folder, results, shape=(20, 30)):
    """Each picture of the figures for each trial: one colour a trial, and where the files are."""
    names, samples = {pictured.picture for pictured in PICTURES.values()}, {}
    for index, one in enumerate(results):
        samples[one.trial.id] = {name: folder / f"{one.trial.id}-{name}.png" for name in names}
        for path in samples[one.trial.id].values():
            Image.fromarray(np.full((*shape, 3), 10 * index + 5, np.uint8)).save(path)
    return samples


def images(figure):
    """The first pixel's red, and the shape, of each picture in a figure."""
    return [(int(image.get_array()[0, 0, 0]), image.get_array().shape[:2]) for axes in figure.axes for image in axes.get_images()]


def test_files_are_the_same_twice(tmp_path):
    """Pictures, curves and their numbers of one small sweep, byte for byte; the answer names what is in the folder."""
    results = trials(POLY, 2)
    (tmp_path / "pictures").mkdir()
    samples = pictured(tmp_path / "pictures", results)
    first, second = (paper_figures.write(groups(POLY, range(2), results), samples, tmp_path / name) for name in "ab")
    assert set(first) == {"figure3.svg", "figure3.csv", *(f"figure{i}.png" for i in (2, 8, 9, 10, 11))}
    assert {path.name for path in (tmp_path / "a").iterdir()} == set(first)
    assert all(first[name].read_bytes() == second[name].read_bytes() for name in first)


def test_groups_with_the_same_figure_have_names_of_their_own(tmp_path):
    """Two sources of one dataset: two files of Figure 13, none overwrites the other."""
    cells = [of("celeba", "mopoe"), of("celeba", "mopoe", source="original")]
    chosen = {f"probe/image/{name}": 0.5 for one in cells for name in one.config.attributes}
    results = [
        result(one, 0, {name: v for name, v in chosen.items() if name.split("/")[2] in one.config.attributes}) for one in cells
    ]
    written = paper_figures.write(groups(cells, [0], results), {}, tmp_path)
    assert {name for name in written if name.endswith("svg")} == {
        "figure13-celeba-embedded-own.svg",
        "figure13-celeba-original-own.svg",
    }


@pytest.mark.parametrize(
    ("draw", "panels"), [(tradeoff_figures.joint, 1), (tradeoff_figures.given_two, 3), (tradeoff_figures.given_one, 6)]
)
def test_tradeoffs_have_a_marker_a_cell_at_its_mean(draw, panels):
    """In every panel the nine markers stand where numpy's means of that panel's two metrics are."""
    results = trials(CELLS, 2)
    figure = draw(group_of(CELLS, 2, results))
    assert len(figure.axes) == panels
    for axes in figure.axes:
        markers = {(float(line.get_xdata()[0]), float(line.get_ydata()[0])) for line in axes.lines if line.get_marker() in "os^"}
        assert len(markers) == len(CELLS)
    if panels == 3:
        names = ("coherence/mnist.text/svhn", "log_likelihood/mnist.text")
        expected = np.mean([[r.value(name) for name in names] for r in results if r.trial.cell == CELLS[4]], axis=0)
        markers = [(line.get_xdata()[0], line.get_ydata()[0]) for line in figure.axes[1].lines if line.get_marker() in "os^"]
        assert any(marker == pytest.approx(tuple(expected)) for marker in markers)


def test_labels_of_betas_cover_no_other_and_stay_inside():
    """What cannot be placed is left out; of what is left no two boxes overlap."""
    for axes in tradeoff_figures.given_one(group_of(CELLS)).axes:
        boxes = [text.get_window_extent() for text in axes.texts if isinstance(text, Annotation)]
        place = axes.get_window_extent()
        assert boxes
        assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
        assert all(place.x0 <= box.x0 and box.x1 <= place.x1 and place.y0 <= box.y0 and box.y1 <= place.y1 for box in boxes)


def test_the_curves_are_means_and_bands_over_seeds():
    """Figure 3's three panels against numpy: k from 1 to 5, coherence to 4; bands end at mean -+ sd."""
    results = trials(POLY, 3)
    figure = curve_figures.by_size(group_of(POLY, 3, results))
    for axes, (kind, most) in zip(figure.axes, (("probe", 5), ("coherence", 4), ("log_likelihood", 5)), strict=True):
        assert len(axes.lines) == len(axes.collections) == 3
        for line, band, one in zip(axes.lines, axes.collections, POLY, strict=True):
            own = [r for r in results if r.trial.cell == one]
            values = np.array([[r.value(f"{kind}/given_{k}") for k in range(1, most + 1)] for r in own])
            np.testing.assert_allclose(line.get_xdata(), range(1, most + 1))
            np.testing.assert_allclose(line.get_ydata(), values.mean(0))
            corners = band.get_paths()[0].vertices
            assert corners[:, 1].max() == pytest.approx((values.mean(0) + values.std(0, ddof=1)).max())
            assert corners[:, 1].min() == pytest.approx((values.mean(0) - values.std(0, ddof=1)).min())


def test_the_legend_of_the_curves_has_the_joint_coherence():
    """Mean and sd over seeds, as numpy has them."""
    results = trials(POLY, 3)
    own = [r.value("coherence/joint") for r in results if r.trial.cell == POLY[2]]
    assert f"{np.mean(own):.3f} ± {np.std(own, ddof=1):.3f}" in texts(curve_figures.by_size(group_of(POLY, 3, results)))


def test_a_cell_without_all_seeds_is_faint_and_says_so():
    """Its curve has no band; the legend says 2/3, as the labels of a trade-off do."""
    results = [r for r in trials([*CELLS, *POLY], 3) if not (r.trial.seed == 1 and r.trial.config.model == "mmvae")]
    figure = curve_figures.by_size(group_of(POLY, 3, [r for r in results if r.trial.cell in POLY]))
    assert [line.get_alpha() for line in figure.axes[0].lines] == [1.0, 0.35, 1.0]
    assert len(figure.axes[0].collections) == 2
    assert "MMVAE (2/3)" in texts(figure)
    assert "2/3" in texts(tradeoff_figures.joint(group_of(CELLS, 3, [r for r in results if r.trial.cell in CELLS])))


@pytest.mark.parametrize(
    ("draw", "kind", "panels"), [(curve_figures.attribute_coherence, "coherence", 6), (curve_figures.attribute_probe, "probe", 3)]
)
def test_each_attribute_has_a_dot_a_model(draw, kind, panels):
    """The dots of the last panel are numpy's means, in the dataset's order; every attribute is named."""
    results = trials(FACES, 2)
    figure = draw(group_of(FACES, 2, results))
    assert len(figure.axes) == panels
    attributes = FACES[0].config.attributes
    assert all(name.replace("_", " ") in texts(figure) for name in attributes)
    place = {"coherence": "coherence/image.text/text", "probe": "probe/image.text"}[kind]
    bars = [container for container in figure.axes[-1].containers if isinstance(container, ErrorbarContainer)]
    for container, one in zip(bars, FACES, strict=True):
        own = [r for r in results if r.trial.cell == one]
        expected = [np.mean([r.value(f"{place}/{name}") for r in own]) for name in attributes]
        np.testing.assert_allclose(np.asarray(container[0].get_xdata(), dtype=float), expected)


def test_every_figure_names_its_data_and_seeds(tmp_path):
    """Dataset, source, scale, networks and n stand in the title of curves and pictures."""
    small = [of("polymnist", model, scale="small") for model in MODELS]
    results = trials(small, 2)
    group = group_of(small, 2, results)
    # the one title that is looked at word by word
    assert "PolyMNIST, embedded data, small scale, small networks, β = 2.5; n = 2 seeds" in texts(curve_figures.by_size(group))
    picture = compose(PICTURES["figure8"], group, pictured(tmp_path, results))
    assert not unnamed(texts(picture), "PolyMNIST", "embedded", "small", "MoPoE", "2.5", "seed 0")
    own_sizes = texts(tradeoff_figures.joint(group_of(CELLS)))
    assert not unnamed(own_sizes, "MNIST-SVHN-Text", "embedded")
    assert unnamed(own_sizes, "small scale", "paper scale", "smoke scale") == ["small scale", "paper scale", "smoke scale"]


def test_pictures_are_of_the_lowest_completed_seed_at_the_tables_beta(tmp_path):
    """Seed 0 of MMVAE is missing: its panel is of seed 1; the pixels say which trial each panel is from."""
    results = [r for r in trials(CELLS, 2) if not (r.trial.cell == cell("mmvae", 5) and r.trial.seed == 0)]
    figure = compose(PICTURES["figure7"], group_of(CELLS, 2, results), pictured(tmp_path, results))
    wanted = [("mvae", 0), ("mmvae", 1), ("mopoe", 0)]
    index = {(r.trial.config.model, r.trial.seed): i for i, r in enumerate(results) if r.trial.config.beta == 5}
    assert [pixel for pixel, _ in images(figure)] == [10 * index[key] + 5 for key in wanted]


def test_pictures_are_of_the_beta_that_the_tables_have(tmp_path):
    """Only MoPoE has the paper's beta 5; its panel is of 2.5 as those of the others, which is the tables' beta then."""
    cells = [cell(model, beta) for model in MODELS for beta in (0.5, 2.5)] + [cell("mopoe", 5)]
    results = trials(cells, 1)
    figure = compose(PICTURES["figure7"], group_of(cells, 1, results), pictured(tmp_path, results))
    assert texts(figure).count("β = 2.5") == 3
    assert {table.beta for table in paper_tables(front_groups(cells, results).groups, [0])} == {2.5}


def test_an_axis_has_the_unit_that_trials_report():
    """A coherence that is an average precision is not called a share."""
    results = [
        replace(one, metrics=tuple(replace(m, unit=AVERAGE_PRECISION) if m.kind == "coherence" else m for m in one.metrics))
        for one in trials([*CELLS, *POLY], 1)
    ]
    own = [r for r in results if r.trial.cell in CELLS]
    assert tradeoff_figures.joint(group_of(CELLS, 1, own)).axes[0].get_xlabel().endswith(f"({AVERAGE_PRECISION})")
    curves = curve_figures.by_size(group_of(POLY, 1, [r for r in results if r.trial.cell in POLY]))
    assert [axes.get_ylabel() for axes in curves.axes] == ["accuracy", AVERAGE_PRECISION, "nats"]


def test_a_missing_picture_leaves_its_panel_out(tmp_path):
    """Without MVAE's files two panels are left, and without any there is no figure."""
    results = trials(POLY, 1)
    samples = pictured(tmp_path, results)
    group = group_of(POLY, 1, results)
    for path in samples[results[0].trial.id].values():
        path.unlink()
    assert len(images(compose(PICTURES["figure9"], group, samples))) == 2
    assert compose(PICTURES["figure9"], group, {}) is None


@pytest.mark.parametrize("shape", [(20, 30), (60, 1500)])
def test_a_pixel_of_a_picture_is_one_of_the_png(tmp_path, shape):
    """Panels side by side or, if wide, one below another: each axes has just the picture's pixels, and none overlap."""
    results = trials(POLY, 1)
    figure = compose(PICTURES["figure10"], group_of(POLY, 1, results), pictured(tmp_path, results, shape))
    boxes = [axes.get_window_extent() for axes in figure.axes]
    assert all((box.height, box.width) == pytest.approx(shape) for box in boxes)
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
    assert all(box.x0 >= 0 and box.x1 <= figure.bbox.width and box.y0 >= 0 and box.y1 <= figure.bbox.height for box in boxes)


def test_examples_of_the_data_are_one_panel(tmp_path):
    """Figure 2 is of the data: one trial's picture stands for all."""
    results = trials(POLY, 1)
    assert len(images(compose(PICTURES["figure2"], group_of(POLY, 1, results), pictured(tmp_path, results)))) == 1


def test_without_results_there_are_no_figures(tmp_path):
    """A sweep that has not begun, or is empty, writes nothing."""
    assert paper_figures.write(groups([*CELLS, *POLY, *FACES], range(2), []), {}, tmp_path) == {}
    assert paper_figures.write([], {}, tmp_path) == {}
