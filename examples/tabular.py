"""An own dataset in some twenty lines: a table, with one modality for each group of columns.

The Wisconsin breast cancer data in scikit-learn describe 569 tumours by ten properties of their cells. Each property has a mean, a
standard error and a worst value. This gives three modalities of ten numbers each; there are two classes. Run the sweep with

    mopoe sweep examples/tabular.yaml
"""

from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from mopoe_core.data.own import OwnDataset, OwnModality

GROUPS = {"mean": slice(0, 10), "error": slice(10, 20), "worst": slice(20, 30)}


def tumours() -> OwnDataset:
    """Returns the dataset, standardised by its training examples because the likelihood's scale is 0.75."""
    table, labels = load_breast_cancer(return_X_y=True)
    train, test, train_labels, test_labels = train_test_split(table, labels, test_size=169, random_state=0, stratify=labels)
    scaler = StandardScaler().fit(train)
    train, test = scaler.transform(train), scaler.transform(test)
    modalities = tuple(OwnModality(name, "vector", train[:, columns], test[:, columns]) for name, columns in GROUPS.items())
    return OwnDataset(modalities, train_labels, test_labels)
