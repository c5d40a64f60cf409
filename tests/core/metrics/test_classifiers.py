"""The judges of coherence: what makes a classifier one, by brute force and scikit-learn; and which are refused."""

import warnings
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, balanced_accuracy_score
from torch import nn

from mopoe_core.data.own import OwnDataset, OwnModality, user_data
from mopoe_core.errors import ClassifierError
from mopoe_core.metrics import classifier_quality, classifier_training, classifiers
from mopoe_core.metrics.classifier_networks import recipe
from mopoe_core.metrics.classifier_quality import LEVEL, Quality, of_attributes, of_classes
from mopoe_core.metrics.classifiers import check_quality, trained_classifiers
from tests.support.naming import names, naming

CPU = torch.device("cpu")
HERE = f"{__name__}:made"
RARE = 0.05
GOOD = {"accuracy": 0.9, "balanced_accuracy": 0.9, "chance": 0.5, "majority_share": 0.5, "p": 0.001}


def test_every_judge_is_good_enough_and_its_quality_is_measured(dataset, jury):
    """The recorded accuracies are those on the test items, and the balanced one is above the stated minimum and chance."""
    for modality in dataset.modalities:
        items, labels = dataset.test.items[modality.name], dataset.test.item_labels[modality.name]
        said, quality = jury.classify(modality.name, modality.to_float(items)), jury.quality[modality.name]
        assert quality.accuracy == pytest.approx(float((said == labels).double().mean()), abs=1e-9)
        assert quality.balanced_accuracy == pytest.approx(balanced_accuracy_score(labels, said), abs=1e-9)
        assert quality.balanced_accuracy >= recipe(modality).least > quality.chance == 0.1
        assert quality.majority_share == pytest.approx(float(labels.bincount().max()) / len(labels))
        assert quality.p == 1 / (1 + classifier_quality.PERMUTATIONS)


def test_house_numbers_are_harder_than_digits(jury):
    """As with the real data, the classifier of house numbers is right less often than that of MNIST."""
    assert jury.quality["svhn"].accuracy < jury.quality["mnist"].accuracy < jury.quality["text"].accuracy


def test_judges_are_in_evaluation_mode_and_repeat_themselves(dataset, jury):
    """No dropout is live: the same pictures are judged alike twice."""
    x = dataset.modalities[1].to_float(dataset.test.items["svhn"][:200])
    assert not any(network.training for network in jury.networks.values())
    assert torch.equal(jury.networks["svhn"](x), jury.networks["svhn"](x))


def test_judges_are_trained_once(dataset, jury, shared):
    """A second call loads what the first kept."""
    files = sorted((shared / "storage" / "classifiers").rglob("*.pt"))
    before = [file.stat().st_mtime_ns for file in files]
    again = trained_classifiers(dataset, shared / "storage" / "classifiers", CPU)
    assert [file.stat().st_mtime_ns for file in files] == before
    assert (again.hash, again.quality) == (jury.hash, jury.quality)


def test_a_weak_classifier_is_an_error(dataset):
    """The message says how weak it is, against what, what is needed and which file to delete."""
    weak = Quality(accuracy=0.7, balanced_accuracy=0.61, chance=0.1, majority_share=0.19, p=0.001)
    with pytest.raises(ClassifierError, check=naming("svhn", "61.0%", "70.0%", "10.0%", "19.0%", "85%", "delete x.pt")):
        check_quality(dataset.modalities[1], weak, Path("x.pt"))


def logits_of(said, classes):
    """Logits of a classifier that says these classes."""
    return np.eye(classes)[np.asarray(said)]


@pytest.mark.parametrize("seed", range(3))
def test_balanced_accuracy_is_scikit_learns(seed):
    """Of unequal classes, one of which the test items lack."""
    rng = np.random.default_rng(seed)
    labels, said = rng.choice(4, 200, p=[0.7, 0.2, 0.1, 0]), rng.choice(4, 200)
    found = of_classes(logits_of(said, 4), labels)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn's, of a class that is said and is not there
        assert found.balanced_accuracy == pytest.approx(balanced_accuracy_score(labels, said))
    assert (found.accuracy, found.chance) == (pytest.approx(np.mean(said == labels)), pytest.approx(1 / 3))
    assert found.majority_share == pytest.approx(np.mean(labels == 0))


@pytest.mark.parametrize(("labels", "said"), [([0, 0, 0, 1, 1, 1], [0, 0, 1, 1, 1, 0]), ([0, 0, 1, 2, 2], [0, 0, 1, 2, 1])])
def test_p_is_the_share_of_all_orders_that_score_as_well(labels, said):
    """Of few items, against every permutation there is, within four standard errors of the sample."""
    labels, said = np.array(labels), np.array(said)
    reached = balanced_accuracy_score(labels, said)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        every = [
            balanced_accuracy_score(labels, said[list(order)]) >= reached - 1e-12 for order in permutations(range(len(said)))
        ]
    exact = np.mean(every)
    limit = 4 * np.sqrt(exact * (1 - exact) / classifier_quality.PERMUTATIONS) + 1 / classifier_quality.PERMUTATIONS
    assert 0 < exact < 1
    assert abs(of_classes(logits_of(said, 3), labels).p - exact) <= limit


@pytest.mark.parametrize("items", [4, 20, 2000])
@pytest.mark.parametrize("classes", [2, 10])
def test_a_constant_classifier_is_never_better_than_chance(items, classes):
    """Whichever class it says, and however common that class is, p is 1; with one class among the items, too."""
    rng = np.random.default_rng(0)
    for labels in (rng.choice(classes, items), np.where(rng.random(items) < RARE, 1, 0), np.zeros(items, dtype=int)):
        for said in (0, classes - 1):
            found = of_classes(logits_of(np.full(items, said), classes), labels)
            assert found.p == 1
            assert not found.better_than_chance


def test_few_items_do_not_show_what_many_do():
    """Three of four right in two classes: with twenty items that may be chance, with two hundred it is not; all of twenty is not."""
    labels = np.arange(200) % 2
    said = np.where(np.arange(200) % 8 < 2, 1 - labels, labels)
    assert of_classes(logits_of(said, 2), labels).balanced_accuracy == 0.75
    assert of_classes(logits_of(said, 2), labels).better_than_chance
    assert of_classes(logits_of(said[:20], 2), labels[:20]).p > LEVEL
    assert of_classes(logits_of(labels[:20], 2), labels[:20]).better_than_chance


def test_outputs_that_know_nothing_are_refused_as_often_as_the_level_says():
    """Of 300 classifiers that guess, at most about one in a hundred passes."""
    rng = np.random.default_rng(1)
    passed = sum(
        of_classes(rng.normal(size=(60, 3)), rng.choice(3, 60, p=[0.8, 0.1, 0.1])).better_than_chance for _ in range(300)
    )
    assert passed <= 10  # 3 are expected; 10 or fewer in all but one of 3,000 times


def attributes(items=200, seed=0):
    """Scores with many ties, and labels: one that the scores know, two that they do not, one that nobody has."""
    rng = np.random.default_rng(seed)
    labels = (rng.random((items, 4)) < [0.5, 0.1, 0.9, 0.0]).astype(np.uint8)
    scores = rng.normal(size=(items, 4)).round(1)
    scores[:, 0] += labels[:, 0]
    return scores, labels


NAMES = ("known", "rare", "common", "nobodys")


def test_average_precision_is_scikit_learns_and_its_chance_is_the_share():
    """With ties among the scores; the mean is over the attributes that occur; those that are not known are named."""
    scores, labels = attributes()
    found = of_attributes(scores, labels, NAMES)
    each = [average_precision_score(labels[:, a], scores[:, a]) for a in range(3)]
    assert found.accuracy == found.balanced_accuracy == pytest.approx(np.mean(each))
    assert found.chance == pytest.approx(labels[:, :3].mean())
    assert found.not_better_than_chance == ("rare", "common", "nobodys")
    assert found.better_than_chance
    assert found.recorded()["not_better_than_chance"] == "rare, common, nobodys"


@pytest.mark.parametrize("scores", ["constant", "noise"])
def test_attributes_that_no_score_knows_are_refused(scores, dataset):
    """Constant scores reach the share exactly and are refused; so is noise, though everybody has one attribute."""
    rng = np.random.default_rng(4)
    labels = (rng.random((300, 3)) < [0.95, 0.5, 1.0]).astype(np.uint8)
    found = of_attributes(np.zeros((300, 3)) if scores == "constant" else rng.normal(size=(300, 3)), labels, NAMES[:3])
    if scores == "constant":
        assert found.balanced_accuracy == pytest.approx(found.chance)
        assert found.p == 1
    assert found.balanced_accuracy > 0.75
    assert set(found.not_better_than_chance) == set(NAMES[:3])
    shown = f"{found.balanced_accuracy:.1%}", f"{found.chance:.1%}"
    with pytest.raises(ClassifierError, check=naming(dataset.modalities[0].name, "precision", "chance", *shown, "x.pt")):
        check_quality(dataset.modalities[0], found, Path("x.pt"))


def unequal(noise=0.0, classes=2, train=1000, test=600, accuracy=0.7, judge=None):
    """Two vectors, of classes of which all but the first are rare; the vectors are nothing but noise where `noise` is 1."""

    def split(count, seed):
        rng = np.random.default_rng(seed)
        rare = rng.random(count) < RARE * (classes - 1)
        labels = np.where(rare, rng.integers(1, classes, count), 0)
        labels[:classes] = np.arange(classes)
        centres = 3 * np.eye(classes, 4)[labels] * (1 - noise)
        return [rng.normal(size=(count, 4)) * 0.7 + centres for _ in range(2)], labels

    (train_x, train_y), (test_x, test_y) = split(train, 0), split(test, 1)
    made = [
        OwnModality(name, "vector", a, b, judge=judge, judge_accuracy=accuracy)
        for name, a, b in zip("vw", train_x, test_x, strict=True)
    ]
    return OwnDataset(tuple(made), train_y, test_y)


@pytest.fixture
def loaded(monkeypatch):
    """An own dataset, loaded as if by a fresh process."""

    def load(data):
        monkeypatch.setattr("tests.core.metrics.test_classifiers.made", lambda: data, raising=False)
        user_data.forget()
        return user_data.load(HERE)

    yield load
    user_data.forget()


@pytest.mark.parametrize("accuracy", [0.7, 0.0])
def test_noise_of_which_most_is_one_class_is_refused(loaded, tmp_path, accuracy):
    """Whatever accuracy the user asks for; the line says the balanced accuracy, chance, and the share of the commonest class."""
    data = loaded(unequal(noise=1.0, accuracy=accuracy))
    share = float((data.test.labels == 0).double().mean())
    assert share > 0.94
    with pytest.raises(ClassifierError) as caught:
        trained_classifiers(data, tmp_path, CPU)
    assert names(str(caught.value), "balanced accuracy", "chance", "50.0%", f"{share:.1%}", "OwnModality 'v'")


class Constant(nn.Module):
    """A classifier that says the first class, whatever it is shown or taught."""

    def __init__(self, classes):
        super().__init__()
        self.none = nn.Parameter(torch.zeros(classes))

    def forward(self, x):
        """(B, A)."""
        return torch.eye(len(self.none))[0] + 0 * self.none.expand(len(x), -1)


@pytest.mark.parametrize(("accuracy", "classes"), [(0.0, 2), (0.3, 2), (0.0, 5)])
def test_a_constant_classifier_is_refused_whatever_is_asked_for(loaded, tmp_path, accuracy, classes):
    """The user's own judge, with the least that a user can ask for, on data that could be told apart."""
    with pytest.raises(ClassifierError, check=naming("balanced accuracy", f"{1 / classes:.1%}", "chance")):
        trained_classifiers(loaded(unequal(classes=classes, accuracy=accuracy, judge=Constant)), tmp_path, CPU)


@pytest.mark.parametrize("classes", [2, 4])
def test_a_good_classifier_of_unequal_classes_passes_and_knows_the_rare_ones(loaded, tmp_path, classes):
    """Every class is told, the rare ones too, and the record says the share of the commonest."""
    data = loaded(unequal(classes=classes))
    jury = trained_classifiers(data, tmp_path, CPU)
    for name, quality in jury.quality.items():
        said = jury.classify(name, data.test.items[name])
        recalls = [float((said[data.test.labels == k] == k).double().mean()) for k in range(classes)]
        assert min(recalls) > 0.85
        assert quality.balanced_accuracy == pytest.approx(np.mean(recalls))
        assert quality.majority_share == pytest.approx(float((data.test.labels == 0).double().mean()))
    assert jury.measured()["chance"] == dict.fromkeys("vw", 1 / classes)
    assert set(jury.measured()) == {"accuracy", "balanced_accuracy", "chance", "majority_share", "p"}


def test_quality_is_that_of_the_partition_on_which_trials_are_evaluated(loaded, tmp_path):
    """A classifier that was stored for the test set has its own quality on the validation set. Its weights and its hash are the same."""
    data = loaded(unequal(classes=2))
    few = data.test.labels.argsort(descending=True)[:40]
    items = {name: values[few] for name, values in data.test.items.items()}
    labels = dict.fromkeys(items, data.test.labels[few])
    split = replace(
        data.test, items=items, item_labels=labels, rows=dict.fromkeys(items, torch.arange(40)), labels=data.test.labels[few]
    )
    of_test = trained_classifiers(data, tmp_path, CPU)
    of_validation = trained_classifiers(replace(data, test=split, partition="validation"), tmp_path, CPU)
    assert of_validation.hash == of_test.hash
    for name, quality in of_validation.quality.items():
        assert quality.majority_share == pytest.approx(float(split.labels.bincount().max()) / 40)
        assert quality.accuracy == float((of_test.classify(name, items[name]) == split.labels).double().mean())
    assert trained_classifiers(data, tmp_path, CPU).quality == of_test.quality


def test_classes_that_are_nearly_equal_are_drawn_as_before():
    """Up to a ratio of five each item comes once an epoch, in the order of the plain permutation; beyond it each class as often."""
    few = torch.tensor([0] * 500 + [1] * 100)
    permuted = torch.randperm(600, generator=torch.Generator().manual_seed(3))
    assert torch.equal(classifier_training.epoch_order(few, torch.Generator().manual_seed(3)), permuted)
    drawn = few[torch.arange(600) != 599][classifier_training.epoch_order(few[:599], torch.Generator().manual_seed(3))]
    assert len(drawn) == 599
    assert abs(float(drawn.double().mean()) - 0.5) < 4 * 0.5 / np.sqrt(599)


@pytest.mark.parametrize(
    "kept",
    [
        {"weights": {}, "accuracy": 0.99},
        {"weights": {}, "quality": {"accuracy": 0.9}},
        {"weights": {}, "quality": GOOD},
        {3: 4},
        [1],
    ],
)
def test_a_classifiers_file_of_another_form_is_one_line(loaded, tmp_path, kept):
    """What an earlier version kept is named with the file, and what to do."""
    data = loaded(unequal())
    path = classifiers.classifier_path(data, data.modalities[0], tmp_path)
    path.parent.mkdir(parents=True)
    torch.save(kept, path)
    with pytest.raises(ClassifierError, check=naming(path, "delete")):
        trained_classifiers(data, tmp_path, CPU)
