"""The paper's published numbers under this project's names, and the layouts of its tables. Pure: no torch, no pandas.

Source: Sutter, Daunhawer, Vogt, "Generalized Multimodal ELBO", ICLR 2021, arXiv 2105.02470. The CSV files have a row for each printed
number: Tables 2 and 4 (mean and sd of 5 runs), Table 3 (means only; Table 6 has the same means with their sd), Table 5 (means only),
Table 7 (no sd and no number of runs for Eq. (5)) and the joint coherences in the caption of Figure 3 (its curves are pictures, without
numbers). `hyperparameters_paper_vs_code.csv` has the settings of the paper and those of its released code.
"""

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from importlib import resources

from mopoe_core import metric_names
from mopoe_core.family.registry import PAPER_MODELS
from orchestrator.spec.proper_names import DATASET_TITLES

FILES = {
    "table2": "table2_latent_classification.csv",
    "table3": "table3_generation_coherence.csv",
    "table4": "table4_test_loglikelihood.csv",
    "table5": "table5_celeba.csv",
    "table6": "table6_generation_coherence_std.csv",
    "table7": "table7_objective_comparison.csv",
    "figure3": "figure3_polymnist_joint_coherence.csv",
}
LETTERS = {
    "mnist_svhn_text": {"M": "mnist", "S": "svhn", "T": "text"},
    "celeba": {"I": "image", "T": "text"},
    "polymnist": {},
}
"""The paper's letter of each modality, in the dataset's order."""


@dataclass(frozen=True)
class Published:
    """One number that the paper prints."""

    table: str
    """A key of `FILES`."""
    dataset: str
    model: str
    """`mvae`, `mmvae`, `mopoe` or `eq5`."""
    metric: str
    """Full name, as in `mopoe_core.metric_names`."""
    mean: float
    """Mean over runs. Numbers that the paper prints in percent are shares here."""
    sd: float
    """Standard deviation over runs; NaN if the paper prints none."""
    units: str
    """`share`, `accuracy`, `nats` or `average precision`."""
    beta: float
    n: int | None
    """The number of runs; None if the paper does not state it."""
    note: str


@dataclass(frozen=True)
class Column:
    """One column of a published table."""

    group: str
    """The heading that the column shares with its neighbours, or empty."""
    tex: str
    """The column's heading without the shared one, in LaTeX."""
    text: str
    """The whole heading, in plain text."""
    metric: str
    """Full name, as in `mopoe_core.metric_names`."""


@dataclass(frozen=True)
class Layout:
    """A published table without its numbers."""

    key: str
    numbers: str
    """The key of `FILES` with the table's numbers, and with their sd if the paper prints any."""
    title: str
    explanation: str
    dataset: str
    beta: float
    models: tuple[str, ...]
    """The paper's rows, in the paper's order."""
    closed: bool
    """Whether the table has only these models, and only if all of them are there."""
    columns: tuple[Column, ...]


@cache
def published(table: str) -> tuple[Published, ...]:
    """Returns the numbers of one table, in the order of its file. Raises KeyError for a table that is not in `FILES`."""
    text = resources.files(__name__).joinpath(FILES[table]).read_text(encoding="utf-8")
    return tuple(_record(table, row) for row in csv.DictReader(text.splitlines()))


def layouts(dataset: str, modalities: int) -> tuple[Layout, ...]:
    """Returns the published tables on a dataset with this number of modalities, in the paper's order; none for other datasets.

    There are two of each table of log-likelihoods: with the importance-weighted bound, and with the number of the released code.
    """
    if dataset == "mnist_svhn_text":
        return _mnist_svhn_text()
    if dataset == "polymnist":
        return (_figure3(modalities),)
    return (_celeba(),) if dataset == "celeba" else ()


BOUND = "importance-weighted bound"
AS_RELEASED = "as the released code computes it"
_ESTIMATORS = {
    metric_names.LOG_LIKELIHOOD: (
        "",
        BOUND,
        f"Log-likelihood of all modalities in nats, {BOUND} with samples from q(z | subset): the log-mean-exp runs over one"
        " example's samples.",
    ),
    metric_names.LOG_LIKELIHOOD_PAPER_VIEW: (
        "_paper_view",
        AS_RELEASED,
        f"Log-likelihood of all modalities in nats, {AS_RELEASED}: its log-mean-exp runs over different examples, so it is no bound.",
    ),
}
_ABBREVIATIONS = "M: MNIST; S: SVHN; T: Text."


def _mnist_svhn_text() -> tuple[Layout, ...]:
    dataset = "mnist_svhn_text"
    probe = f"Accuracy of a linear classifier on the posterior means of q(z | subset). {_ABBREVIATIONS}"
    coherence = (
        f"Share of generated modalities that show the input's class; Joint: share of draws on which all agree. {_ABBREVIATIONS}"
    )
    likelihood_title = "Test log-likelihood on MNIST-SVHN-Text ({}), layout of Table 4"
    objectives_title = "Eq. (5) and Definition 1 on MNIST-SVHN-Text: test log-likelihood ({}), layout of Table 7"
    probe_title = "Linear classification of latent representations on MNIST-SVHN-Text, layout of Table 2"
    coherence_title = "Generation coherence on MNIST-SVHN-Text, layout of Table 3 with the sd of Table 6"
    tables = [
        Layout("table2", "table2", probe_title, probe, dataset, 5.0, PAPER_MODELS, False, _probe_columns()),
        Layout("table3", "table6", coherence_title, coherence, dataset, 5.0, PAPER_MODELS, False, _coherence_columns()),
    ]
    for number, title, beta, models in (
        ("4", likelihood_title, 5.0, PAPER_MODELS),
        ("7", objectives_title, 2.5, ("eq5", "mopoe")),
    ):
        for kind, (suffix, estimator, meaning) in _ESTIMATORS.items():
            key, full_title = f"table{number}", title.format(estimator)
            columns = _likelihood_columns(kind)
            tables.append(Layout(key + suffix, key, full_title, meaning, dataset, beta, models, number == "7", columns))
    return tuple(tables)


def _probe_columns() -> tuple[Column, ...]:
    columns = []
    for subset in metric_names.subsets(tuple(LETTERS["mnist_svhn_text"])):
        heading = ",".join(subset)
        columns.append(Column("", heading, heading, f"{metric_names.PROBE}/{_subset(subset, 'mnist_svhn_text')}"))
    return tuple(columns)


def _coherence_columns() -> tuple[Column, ...]:
    letters = LETTERS["mnist_svhn_text"]
    columns = [Column("", "Joint", "Joint", metric_names.JOINT_COHERENCE)]
    for target, modality in letters.items():
        for given in metric_names.subsets([letter for letter in letters if letter != target]):
            text, metric = ",".join(given), f"{metric_names.COHERENCE}/{_subset(given, 'mnist_svhn_text')}/{modality}"
            columns.append(Column(target, text, f"{text} → {target}", metric))
    return tuple(columns)


def _likelihood_columns(kind: str) -> tuple[Column, ...]:
    *smaller, full = metric_names.subsets(tuple(LETTERS["mnist_svhn_text"]))
    columns = [Column("", "$X$", "X", f"{kind}/{metric_names.JOINT}")]
    for subset in smaller:
        text = "X|" + ", ".join(f"x_{letter}" for letter in subset)
        columns.append(Column("", f"${text}$", text, f"{kind}/{_subset(subset, 'mnist_svhn_text')}"))
    return tuple(columns)


def _figure3(modalities: int) -> Layout:
    title = f"PolyMNIST by the number of input modalities (log-likelihood: {BOUND}), the numbers of Figure 3"
    meaning = (
        "Means over all subsets of so many input modalities. Probe: accuracy of a linear classifier on posterior means. Coherence:"
        " share of generated modalities, inputs excluded, that show the input's class; Joint coherence: share of draws from the prior"
        f" on which all modalities agree. {_ESTIMATORS[metric_names.LOG_LIKELIHOOD][2]}"
    )
    kinds = (
        (metric_names.PROBE, "Probe", 0),
        (metric_names.COHERENCE, "Coherence", 1),
        (metric_names.LOG_LIKELIHOOD, "Log-likelihood", 0),
    )
    columns = [
        Column(heading, str(size), f"{heading} {size}", f"{kind}/{metric_names.given(size)}")
        for kind, heading, fewer in kinds
        for size in range(1, modalities + 1 - fewer)
    ]
    joint = Column("", "Joint coherence", "Joint coherence", metric_names.JOINT_COHERENCE)
    return Layout("figure3", "figure3", title, meaning, "polymnist", 2.5, PAPER_MODELS, False, (*columns, joint))


def _celeba() -> Layout:
    title = "Classification and coherence on bimodal CelebA, layout of Table 5"
    meaning = "Mean average precision over all attributes. I: Image; T: Text; Joint: I and T."
    latent, generation = "Latent representation", "Generation"
    columns = (
        Column(latent, "I", "Latent I", "probe/image"),
        Column(latent, "T", "Latent T", "probe/text"),
        Column(latent, "Joint", "Latent Joint", "probe/image.text"),
        Column(generation, r"I $\to$ T", "I → T", "coherence/image/text"),
        Column(generation, r"T $\to$ I", "T → I", "coherence/text/image"),
    )
    return Layout("table5", "table5", title, meaning, "celeba", 2.5, PAPER_MODELS, False, columns)


def _record(table: str, row: dict[str, str]) -> Published:
    dataset = next(name for name, title in DATASET_TITLES.items() if title == row["dataset"])
    metric = _metric(row, dataset)
    has_runs = row["n_runs"].isdigit()
    is_average_precision = row["metric"].endswith("_mAP")
    notes = [row["notes"], "" if has_runs else "the number of runs is not stated"]
    return Published(
        table=table,
        dataset=dataset,
        model="eq5" if row["model"].startswith("Eq.(5)") else row["model"].lower(),
        metric=metric,
        mean=_number(row["mean"], row["units"]),
        sd=_number(row["std"], row["units"]),
        units=metric_names.AVERAGE_PRECISION if is_average_precision else metric_names.UNITS[metric.partition("/")[0]],
        beta=float(row["beta"]),
        n=int(row["n_runs"]) if has_runs else None,
        note="; ".join(note for note in notes if note),
    )


def _metric(row: dict[str, str], dataset: str) -> str:
    """Returns this project's name of the metric of a row."""
    kind = row["metric"]
    if kind == "joint_coherence":
        return metric_names.JOINT_COHERENCE
    subset = tuple(row["subset"].split(","))
    if kind.startswith("conditional_coherence"):
        return f"{metric_names.COHERENCE}/{_subset(subset, dataset)}/{LETTERS[dataset][row['target']]}"
    if kind.startswith("linear_probe"):
        return f"{metric_names.PROBE}/{_subset(subset, dataset)}"
    full = len(subset) == len(LETTERS[dataset])
    return f"{metric_names.LOG_LIKELIHOOD}/{metric_names.JOINT if full else _subset(subset, dataset)}"


def _subset(letters: Sequence[str], dataset: str) -> str:
    return metric_names.subset_name([LETTERS[dataset][letter] for letter in letters])


def _number(text: str, units: str) -> float:
    """Returns a printed number, percent as a share; NaN for an empty text. Computes in decimals, so that 3.6 percent is exactly 0.036."""
    if not text:
        return math.nan
    return float(Decimal(text).scaleb(-2 if units == "percent" else 0))
