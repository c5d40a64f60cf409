"""The judges of coherence."""

from pathlib import Path

import pytest
import torch

from mopoe_core.classifiers import check_accuracy, judges, recipe
from mopoe_core.errors import JudgeError

CPU = torch.device("cpu")


def test_every_judge_is_good_enough_and_its_accuracy_is_measured(dataset, jury):
    """The recorded accuracy is that on the test items, and above the stated minimum."""
    for modality in dataset.modalities:
        items, labels = dataset.test.items[modality.name], dataset.test.item_labels[modality.name]
        right = (jury.classify(modality.name, modality.to_float(items)) == labels).double().mean()
        assert jury.accuracy[modality.name] == pytest.approx(float(right), abs=1e-9)
        assert right >= recipe(modality).least


def test_house_numbers_are_harder_than_digits(jury):
    """As with the real data, the classifier of house numbers is right less often than that of MNIST."""
    assert jury.accuracy["svhn"] < jury.accuracy["mnist"] < jury.accuracy["text"]


def test_judges_are_in_evaluation_mode_and_repeat_themselves(dataset, jury):
    """No dropout is live: the same pictures are judged alike twice."""
    x = dataset.modalities[1].to_float(dataset.test.items["svhn"][:200])
    assert not any(network.training for network in jury.networks.values())
    assert torch.equal(jury.networks["svhn"](x), jury.networks["svhn"](x))


def test_judges_are_trained_once(dataset, jury, shared):
    """A second call loads what the first kept."""
    files = sorted((shared / "storage" / "classifiers").rglob("*.pt"))
    before = [file.stat().st_mtime_ns for file in files]
    again = judges(dataset, shared / "storage" / "classifiers", CPU)
    assert [file.stat().st_mtime_ns for file in files] == before
    assert (again.hash, again.accuracy) == (jury.hash, jury.accuracy)


def test_a_weak_classifier_is_an_error(dataset):
    """The message says how weak it is, what is needed and which file to delete."""
    with pytest.raises(JudgeError, match=r"61\.0% .* 85% .*delete x\.pt"):
        check_accuracy(dataset.modalities[1], 0.61, Path("x.pt"))
