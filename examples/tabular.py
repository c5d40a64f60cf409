"""A dataset of your own in some twenty lines: tables, one modality a group of columns.

The Wisconsin breast cancer data that scikit-learn ships describe 569 tumours by the mean, the standard error and the worst value of ten
properties of their cells: three modalities of ten numbers each, and two classes. Run all of it with

    mopoe sweep examples/tabular.yaml
"""

from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from mopoe_core.data.own import OwnDataset, OwnModality

GROUPS = {"mean": slice(0, 10), "error": slice(10, 20), "worst": slice(20, 30)}


def tumours() -> OwnDataset:
    """Standardised by the training examples, because the likelihood's scale is 0.75."""
    table, labels = load_breast_cancer(return_X_y=True)
    train, test, train_labels, test_labels = train_test_split(table, labels, test_size=169, random_state=0, stratify=labels)
    scaler = StandardScaler().fit(train)
    train, test = scaler.transform(train), scaler.transform(test)
    modalities = tuple(OwnModality(name, "vector", train[:, columns], test[:, columns]) for name, columns in GROUPS.items())
    return OwnDataset(modalities, train_labels, test_labels)
