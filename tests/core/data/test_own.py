"""A user's own dataset: what is accepted, what is refused in one line, what is part of a trial's identity, and the example."""

import math
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torch import nn

from mopoe_core import metric_names
from mopoe_core.config.training_config import TrainingConfig
from mopoe_core.data import loading
from mopoe_core.data.dataset_card import DataKey
from mopoe_core.data.own import checks as own_checks
from mopoe_core.data.own import user_data
from mopoe_core.data.own.user_data import OwnDataset, OwnModality
from mopoe_core.errors import DataError
from mopoe_core.metrics.classifier_training import quality_of
from mopoe_core.metrics.classifiers import trained_classifiers
from mopoe_core.metrics.evaluation import evaluate
from mopoe_core.training.run import new_model
from mopoe_core.training.training import train
from orchestrator.execution.attempt import preparation
from orchestrator.execution.queue.job import WorkerContext
from tests.support.naming import unnamed
from tests.support.own_cards import HERE
from tests.support.toys import spelled

ROOT = Path(__file__).parents[3]
WORDS = ("a cab", "", "back")
TRAIN, TEST = 60, 24


def labels(count):
    """Returns labels of three classes in turn."""
    return np.arange(count) % 3


def parts(count, seed):
    """Returns a vector, an image and a text for each example."""
    chance = np.random.default_rng(seed)
    return {
        "vec": chance.normal(size=(count, 5)) + labels(count)[:, None],
        "img": chance.integers(0, 256, (count, 1, 4, 6), dtype=np.uint8),
        "txt": np.array([WORDS[k] for k in labels(count)]),
    }


def dataset(**changes):
    """Returns a sound dataset whose modalities have these changes: `vec={"likelihood": "laplace"}`."""
    train, test = parts(TRAIN, 0), parts(TEST, 1)
    kinds = {"vec": "vector", "img": "image", "txt": "text"}
    modalities = [replace(OwnModality(n, kind, train[n], test[n]), **changes.get(n, {})) for n, kind in kinds.items()]
    return OwnDataset(tuple(modalities), labels(TRAIN), labels(TEST))


def both(name, change):
    """Returns a dataset with the arrays of one modality changed in both splits."""
    train, test = parts(TRAIN, 0)[name], parts(TEST, 1)[name]
    return dataset(**{name: {"train": change(train), "test": change(test)}})


def shares(largest):
    """Returns a dataset whose vectors are 0 or `largest`, with the likelihood bernoulli."""
    train, test = ((parts(count, seed)["vec"] > 0) * largest for count, seed in ((TRAIN, 0), (TEST, 1)))
    return dataset(vec={"likelihood": "bernoulli", "train": train, "test": test})


def test_a_dataset_is_held_as_it_was_given(card_of):
    """Vectors become float32, images stay bytes, texts are padded with spaces by their own alphabet, and labels stay."""
    card = card_of(dataset())
    loaded = user_data.load(HERE)
    assert card.modalities == ("vec", "img", "txt") == tuple(m.name for m in loaded.modalities)
    assert (card.train_examples, card.test_examples, loaded.classes) == ({"own": TRAIN}, {"own": TEST}, 3)
    for split, count, seed in ((loaded.train, TRAIN, 0), (loaded.test, TEST, 1)):
        original = parts(count, seed)
        assert np.array_equal(split.items["vec"], original["vec"].astype(np.float32))
        assert np.array_equal(split.items["img"], original["img"])
        alphabet = loaded.modalities[2].alphabet
        assert [spelled(codes, alphabet) for codes in split.items["txt"]] == [text.ljust(5) for text in original["txt"]]
        assert split.labels.tolist() == labels(count).tolist()


def paired(copies, count):
    """Returns a dataset of `count` test images, each paired with `copies` different vectors, in random order."""
    rows = np.random.default_rng(2).permutation(np.tile(np.arange(count), copies))
    pictures = parts(count, 1)["img"]
    return rows, replace(
        dataset(img={"test": pictures[rows]}, vec={"test": parts(len(rows), 3)["vec"]}, txt={"test": parts(len(rows), 3)["txt"]}),
        test_labels=labels(count)[rows],
    )


def test_an_image_that_is_paired_several_times_is_one_item(card_of):
    """Examples share a unit if they have the same image. The examples themselves stay, and so does every vector."""
    rows, made = paired(4, 30)
    card_of(made)
    test = user_data.load(HERE).test
    units = test.units().numpy()
    assert ((units[:, None] == units[None]).any(-1) == (rows[:, None] == rows[None])).all()
    assert len(np.unique(units[:, 0])) == len(rows)
    batch = test.batch(torch.arange(len(rows)))
    assert torch.equal(batch["img"], torch.from_numpy(made.modalities[1].test).float() / 255)


@pytest.mark.parametrize(("copies", "count"), [(10, 15), (0, 60)], ids=["few images", "a blank image"])
def test_images_that_are_no_sample_count_as_separate_items(card_of, monkeypatch, copies, count):
    """Fewer than 20 images are symbols. A blank image, which many examples have, would make pairs of them all."""
    monkeypatch.setattr(user_data, "MOST_COPIES", 20)
    made = paired(copies, count)[1] if copies else dataset(img={"test": blank(parts(TEST, 1)["img"], 21)})
    card_of(made)
    units = user_data.load(HERE).test.units().numpy()
    assert len(np.unique(units)) == units.size


def blank(pictures, count):
    """Returns the images, the first `count` of them black."""
    return np.where(np.arange(len(pictures))[:, None, None, None] < count, 0, pictures).astype(np.uint8)


def test_a_classifier_is_judged_by_distinct_images(card_of):
    """Copies add nothing: quality and p are those of the same classifier on each image once."""
    qualities = []
    for copies in (1, 6):
        rows = np.tile(np.arange(30), copies)
        test = parts(len(rows), 3) | {"img": parts(30, 1)["img"][rows]}
        card_of(replace(dataset(**{name: {"test": x} for name, x in test.items()}), test_labels=labels(30)[rows]))
        loaded = user_data.load(HERE)
        with torch.random.fork_rng():
            torch.manual_seed(1)
            network = nn.Sequential(nn.Flatten(), nn.Linear(24, 3))
        qualities.append(quality_of(network, loaded, loaded.modalities[1]))
    assert qualities[0] == qualities[1]


def test_images_in_0_1_are_rounded_to_bytes(card_of):
    """Images become the nearest byte to 255 x, and so do truth values."""
    card_of(both("img", lambda x: x / 255))
    assert np.array_equal(user_data.load(HERE).train.items["img"], parts(TRAIN, 0)["img"])
    card_of(both("img", lambda x: x > 127))
    assert np.array_equal(user_data.load(HERE).train.items["img"], (parts(TRAIN, 0)["img"] > 127) * 255)


SPELLINGS = {
    "lists": lambda x: x.tolist(),
    "tensors": lambda x: torch.tensor(x) if x.dtype.kind != "U" else x,
    "objects": lambda x: x.astype(object) if x.dtype.kind == "U" else x,
    "tuples of numpy's own strings and rows": tuple,
    "lists of arrays": lambda x: [np.array(value) for value in x],
}


@pytest.mark.parametrize("how", SPELLINGS)
def test_what_numpy_makes_an_array_of_is_taken_as_the_array(card_of, how):
    """Lists, tensors, strings as objects, and a list of modalities give the same fingerprint as arrays."""
    spelling = SPELLINGS[how]
    vec, img, txt = dataset().modalities
    kinds = [replace(m, train=spelling(m.train), test=spelling(m.test)) for m in (vec, txt)]
    plain = card_of(OwnDataset((vec, txt), labels(TRAIN), labels(TEST))).data_hash
    assert card_of(OwnDataset(kinds, spelling(labels(TRAIN)), spelling(labels(TEST)))).data_hash == plain


class Encoder(nn.Module):
    """One layer for means and log-variances, with a parameter of its own, whose text contains its address."""

    def __init__(self, latent, width=5, own=1):
        super().__init__()
        self.layer = nn.Linear(width, 2 * latent)
        self.shift = nn.Parameter(torch.zeros(own))
        self.activation = lambda x: x

    def extra_repr(self):
        """As some libraries do."""
        return f"activation={self.activation}"

    def forward(self, x):
        """Maps (B, 5) to two tensors of (B, latent)."""
        return self.layer(x + self.shift.mean()).chunk(2, -1)


def wide(latent):
    """Returns another decoder with the same output."""
    return nn.Sequential(nn.Linear(latent, 7), nn.Linear(7, 5))


IDENTITIES = {
    "as it is": {},
    "laplace": {"vec": {"likelihood": "laplace"}},
    "image's own": {"img": {"likelihood": "normal"}},
    "alphabet": {"txt": {name: np.char.upper(parts(n, 0)["txt"]) for name, n in (("train", TRAIN), ("test", TEST))}},
    "name": {"vec": {"name": "vector"}},
    "encoder": {"vec": {"encoder": Encoder}},
    "encoder's parameter": {"vec": {"encoder": lambda latent: Encoder(latent, own=2)}},
    "decoder": {"vec": {"decoder": lambda latent: nn.Linear(latent, 5)}},
    "decoder's layers": {"vec": {"decoder": wide}},
    "judge": {"vec": {"judge": lambda classes: nn.Linear(5, classes)}},
    "judge's layers": {"vec": {"judge": lambda classes: nn.Sequential(nn.Linear(5, classes))}},
    "values": {"vec": {"train": parts(TRAIN, 2)["vec"]}},
}


def test_whatever_determines_a_trial_is_in_the_fingerprint(card_of):
    """Each change of likelihood, alphabet, names, order, networks or values is another fingerprint, and so another trial."""
    fingerprints = {name: card_of(dataset(**changes)).data_hash for name, changes in IDENTITIES.items()}
    turned = replace(dataset(), modalities=dataset().modalities[::-1])
    assert len({*fingerprints.values(), card_of(turned).data_hash}) == len(IDENTITIES) + 1
    assert TrainingConfig(dataset=HERE, model="mopoe", batch_size=20).data_hash == card_of(turned).data_hash


def test_what_determines_nothing_is_not_in_the_fingerprint(card_of):
    """An explicit default, new objects of the same networks, and the required accuracy of the judge change nothing."""
    plain = card_of(dataset()).data_hash
    assert (
        card_of(dataset(vec={"likelihood": "normal", "judge_accuracy": 0.1}, txt={"likelihood": "categorical"})).data_hash
        == plain
    )
    custom = {card_of(dataset(vec={"encoder": lambda latent: Encoder(latent)})).data_hash for _ in range(2)}
    assert custom == {card_of(dataset(vec={"encoder": Encoder})).data_hash}


def test_a_fingerprint_costs_no_chance(card_of):
    """Making the networks for the fingerprint does not change the global generator."""
    before = torch.get_rng_state()
    card_of(dataset(vec={"encoder": Encoder, "judge": lambda classes: nn.Linear(5, classes)}))
    assert torch.equal(torch.get_rng_state(), before)


CUSTOM = """
import numpy as np
from tests.core.data import test_own
def custom():
    return test_own.dataset(vec={"encoder": test_own.Encoder, "decoder": test_own.wide})
"""


def test_another_process_finds_the_same_fingerprint(tmp_path, card_of):
    """It depends neither on the seed of hashes nor on addresses in memory."""
    (tmp_path / "mine.py").write_text(CUSTOM)
    code = "import sys; from mopoe_core.data.cards import find; print(find(sys.argv[1]).data_hash)"
    command = [sys.executable, "-c", code, f"{tmp_path}/mine.py:custom"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == card_of(dataset(vec={"encoder": Encoder, "decoder": wide})).data_hash, done.stderr


def test_a_card_needs_no_torch(tmp_path):
    """For a dataset without its own networks, `plan` does not import torch."""
    (tmp_path / "mine.py").write_text(
        "import numpy as np\nfrom mopoe_core.data.own.user_data import OwnDataset, OwnModality\n"
        "def two():\n    x, y = np.eye(40), np.arange(40) % 2\n"
        "    return OwnDataset(tuple(OwnModality(n, 'vector', x, x) for n in 'ab'), y, y)\n"
    )
    code = "import sys; from mopoe_core.data.cards import find; print(find(sys.argv[1]).modalities, 'torch' in sys.modules)"
    command = [sys.executable, "-c", code, f"{tmp_path}/mine.py:two"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.stdout == "('a', 'b') False\n", done.stderr


def raising(error):
    """Returns a function that raises."""

    def function():
        raise error

    return function


def labelled(**changes):
    """Returns a dataset with other labels."""
    return replace(dataset(), **changes)


def with_nan(x):
    """Puts one NaN into the values."""
    x = x.copy()
    x[3, 2] = np.nan
    return x


WRONG = {
    "raises in two lines": (raising(ValueError("first\n  second")), "ValueError", "first second"),
    "exits": (raising(SystemExit("enough")), "SystemExit", "enough"),
    "takes an argument": (lambda x: x, "TypeError", "1 required"),
    "no dataset": (lambda: [1, 2], "list", "mopoe_core.data.own.user_data.OwnDataset"),
    "no tuple": (labelled(modalities=dataset().modalities[0]), "modalities", "OwnModality", "tuple"),
    "no modality": (labelled(modalities=("a", "b")), "modalities", "str", "OwnModality"),
    "one modality": (labelled(modalities=dataset().modalities[:1]), "modalities", 1, 2),
    "number for a name": (dataset(vec={"name": 3}), "modality", 3),
    "dot in a name": (dataset(vec={"name": "a.b"}), "modality", "'a.b'"),
    "a name twice": (dataset(vec={"name": "txt"}), "modality", "'txt'"),
    "labels": (dataset(vec={"name": "labels"}), "modality", "'labels'"),
    "joint": (dataset(vec={"name": "joint"}), "modality", "'joint'"),
    "prior": (dataset(vec={"name": "prior"}), "modality", "'prior'"),
    "given": (dataset(vec={"name": "given_12"}), "modality", "'given_12'"),
    "labels of floats": (labelled(train_labels=labels(TRAIN) / 1), "train_labels", "float64", "(60,)"),
    "labels of two axes": (labelled(test_labels=np.eye(3, dtype=int)), "test_labels", "int64", "(3, 3)"),
    "few examples": (labelled(test_labels=labels(9)), "test", 9, 20),
    "a class left out": (labelled(train_labels=labels(TRAIN) * 2), "train_labels", "[0, 2, 4]"),
    "a class in test only": (labelled(test_labels=labels(TEST) + 1), re.compile(r"test_labels\b.*\b3\b.*\btrain_labels")),
    "kind": (dataset(vec={"kind": "table"}), "vec", "kind", "'table'", "vector", "image", "text"),
    "likelihood": (dataset(vec={"likelihood": "poisson"}), "vec", "likelihood", "'poisson'", "vector", "normal"),
    "network that is none": (dataset(vec={"decoder": "linear"}), "vec", "decoder", "str"),
    "network that raises": (dataset(vec={"judge": lambda classes: 1 // 0}), "vec", "judge", 3, "ZeroDivisionError"),
    "network of another kind": (dataset(vec={"encoder": lambda latent: "x"}), "vec", "encoder", 20, "torch.nn.Module"),
    "accuracy": (dataset(vec={"judge_accuracy": 70}), "vec", "judge_accuracy", 70, 0, 1),
    "unequal lists": (dataset(vec={"train": [[1, 2], [3]]}), "vec", "train", "ValueError"),
    "axes": (both("vec", lambda x: x[:, 0]), "vec", "train", "(60,)", 2, 60),
    "length": (dataset(vec={"test": parts(TEST, 1)["vec"][1:]}), "vec", "test", "(23, 5)", 2, 24),
    "other features": (dataset(vec={"test": parts(TEST, 1)["vec"][:, 1:]}), "vec", re.compile(r"\btrain\b.*\(5,\).*\btest\b.*\(4,\)")),
    "no features": (both("vec", lambda x: x[:, :0]), "vec", "train", "(60, 0)"),
    "no pixels": (both("img", lambda x: x[..., :0]), "img", "train", "(60, 1, 4, 0)"),
    "objects": (both("vec", lambda x: x.astype(object)), "vec", "train", "object", "numbers"),
    "strings": (both("vec", lambda x: x.astype(str)), "vec", "train", "<U32", "numbers"),
    "complex": (both("vec", lambda x: x + 1j), "vec", "train", "complex128", "numbers"),
    "string images": (both("img", lambda x: x.astype(str)), "img", "train", "<U3", "numbers"),
    "not finite": (both("vec", with_nan), "vec", "train", "finite"),
    "too large": (both("vec", lambda x: x * 1e200), "vec", "train", re.compile(r"-\S+e\+200 .*\de\+200 "), "float32"),
    "images to 255": (both("img", lambda x: x.astype(float)), "img", "train", "uint8", "[0, 1]", 0, 255),
    "bernoulli": (dataset(vec={"likelihood": "bernoulli"}), "vec", "bernoulli", "[0, 1]", re.compile(r" -\d\S+ .* \d\S+")),
    "bernoulli, a rounding step above 1": (shares(np.nextafter(np.float32(1), np.float32(2))), "vec", "1.00000012", "x.clip(0, 1)"),
    "numbers for text": (both("txt", lambda x: labels(len(x))), "txt", "train", "int64", "strings"),
    "missing text": (both("txt", lambda x: np.array([None, *x[1:]])), "txt", "train", "object", "None", 0),
    "NaN in a list of texts": (both("txt", lambda x: [float("nan"), *x[1:].tolist()]), "txt", "train", "object", "nan", 0),
    "number in a list of texts": (both("txt", lambda x: ["a", 12, *x[2:].tolist()]), "txt", "train", "object", "12", 1),
    "truth value in texts": (both("txt", lambda x: ("a", *x[1:-1].tolist(), True)), "txt", "train", "object", "True", 59),
    "bytes in a list of texts": (both("txt", lambda x: ["a", b"b", *x[2:].tolist()]), "txt", "train", "object", "b'b'", 1),
    "NaN in a list of bytes": (both("txt", lambda x: [b"a"] * (len(x) - 1) + [float("nan")]), "txt", "train", "object", "strings"),
    "bytes": (both("txt", lambda x: [b"a", b"b"] * (len(x) // 2)), "txt", "train", "|S1", "np.char.decode(x)"),
    "number in rows of words": (both("vec", lambda x: [[1.5, "b"]] * len(x)), "vec", "train", "object", "'b'", 0, 1),
    "empty text": (both("txt", lambda x: np.array([""] * len(x))), "txt", "empty"),
    "alphabet": (both("txt", lambda x: np.array(["".join(map(chr, range(300, 600)))] * len(x))), "txt", 301),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_every_wrong_dataset_has_its_own_line(card_of, case):
    """A DataError of one line names the function, the modality, the value found and what is allowed."""
    made, *named = WRONG[case]
    with pytest.raises(DataError) as caught:
        card_of(made)
    assert not unnamed(caught.value, *named)
    assert str(caught.value).startswith(f"dataset: {HERE}")
    assert "\n" not in str(caught.value)


def test_a_name_that_torch_keeps_is_refused_before_training(card_of):
    """A model keeps its networks in a ModuleDict, which has a method `values`."""
    for name in ("values", "type", "train", "_modules", "__class__"):
        with pytest.raises(DataError) as caught:
            card_of(dataset(vec={"name": name}))
        assert not unnamed(caught.value, HERE, repr(name), "torch")


def test_the_names_that_torch_keeps_are_those_of_its_container():
    """The list, which is read without torch, has every attribute of a ModuleDict, but for those between double underscores."""
    assert {name for name in dir(nn.ModuleDict()) if not name.startswith("__")} == own_checks.TAKEN_BY_TORCH


@pytest.mark.parametrize(
    ("reference", "named"),
    [
        ("none.py:made", ["FileNotFoundError", re.compile(r"/none\.py\b")]),
        ("no.such.module:made", ["no.such.module", "ModuleNotFoundError"]),
        (f"{__name__}:nothing", ["'nothing'", "OwnDataset"]),
        ("bad.py:made", ["bad.py", "SyntaxError"]),
    ],
)
def test_a_function_that_is_not_there_is_named(tmp_path, reference, named):
    """A missing file, a missing module and a missing function each have their own line."""
    (tmp_path / "bad.py").write_text("def made(:\n  pass\n")
    user_data.search_from(tmp_path)
    try:
        with pytest.raises(DataError) as caught:
            user_data.card(reference)
    finally:
        user_data.search_from(Path())
    assert not unnamed(caught.value, reference.rpartition(":")[0], *named)
    assert "\n" not in str(caught.value)


def test_a_function_that_returns_other_data_each_time_is_told_apart(card_of, tmp_path):
    """If a worker gets other data than the command did, preparation fails with one line. With the same data it succeeds."""
    seen = card_of(lambda: dataset(vec={"train": np.random.normal(size=(TRAIN, 5))})).data_hash
    user_data.check_repeats(HERE, seen)
    user_data.forget()  # the worker's process
    key = DataKey(HERE, "own", 3, "test")
    context = WorkerContext(storage=tmp_path, data=str(tmp_path), root="", threads=1, gpu=0.0, commit="", driver="")
    with pytest.raises(DataError) as caught:
        preparation.train_classifier(key, "vec", context, seen)
    assert not unnamed(caught.value, HERE, "seed")
    assert "\n" not in str(caught.value)


UNSEEDED = """
import numpy as np
from mopoe_core.data.own import OwnDataset, OwnModality
def noise():
    y = np.arange(600) % 2
    return OwnDataset(tuple(OwnModality(n, "vector", np.random.normal(size=(600, 3)), np.zeros((600, 3))) for n in "ab"), y, y)
"""


@pytest.mark.slow
def test_a_sweep_of_data_that_do_not_repeat_is_one_line(tmp_path):
    """The real command, with real workers, exits with code 2 and says to seed the function."""
    (tmp_path / "mine.py").write_text(UNSEEDED)
    base = {"dataset": "mine.py:noise", "model": "mopoe", "latent_dim": 2, "batch_size": 50, "epochs": 1}
    (tmp_path / "s.yaml").write_text(yaml.safe_dump({"name": "s", "base": base, "storage": "runs"}))
    command = [sys.executable, "-m", "orchestrator", "sweep", "s.yaml"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stderr.startswith("error: dataset: mine.py:noise")
    assert not unnamed(done.stderr, "seed")
    assert done.stderr.count("\n") == 1


def test_networks_of_the_users_own_are_those_that_are_trained(card_of, tmp_path):
    """The model has the user's encoder and decoder with the configured latent dimensions, and a step changes them."""
    card_of(dataset(vec={"encoder": Encoder, "decoder": wide, "likelihood": "laplace"}))
    loaded = user_data.load(HERE)
    config = TrainingConfig(dataset=HERE, model="mopoe", latent_dim=3, epochs=1, batch_size=20)
    fresh = new_model(config, 0, loaded, torch.device("cpu"))
    trained = train(config, 0, loaded, torch.device("cpu"), tmp_path / "c.pt").model
    assert isinstance(trained.encoders["vec"], Encoder)
    assert trained.encoders["vec"].layer.out_features == 6
    assert not torch.equal(trained.decoders["vec"][1].weight, fresh.decoders["vec"][1].weight)


EXAMPLE = "examples/tabular.py:tumours"


def test_the_example_runs_through_everything(tmp_path):
    """Loading, classifiers, training and evaluation give all metrics of three modalities, finite, and the probe beats chance."""
    config = TrainingConfig(dataset=EXAMPLE, model="mopoe", latent_dim=4, batch_size=50, epochs=8)
    loaded, device = loading.load(config.data_key, tmp_path / "data"), torch.device("cpu")
    assert {name: tuple(x.shape) for name, x in loaded.train.items.items()} == dict.fromkeys(
        ("mean", "error", "worst"), (400, 10)
    )
    assert not (tmp_path / "data").exists()
    jury = trained_classifiers(loaded, tmp_path / "classifiers", device)
    trained = train(config, 0, loaded, device, tmp_path / "c.pt")
    table = evaluate(trained.model, 0, loaded, jury, device)
    assert [metric.name for metric in table] == metric_names.metric_names(("mean", "error", "worst"), classes=2) == config.metrics
    assert all(math.isfinite(metric.value) for metric in table)
    larger = float(loaded.test.labels.bincount().max()) / len(loaded.test)
    assert next(metric.value for metric in table if metric.name == "probe/given_3") > larger + 0.1
