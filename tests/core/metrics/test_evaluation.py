"""Metrics against closed forms, brute force and scikit-learn, on digits and on models whose latents can be seen."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from torch import nn

from mopoe_core import metric_names
from mopoe_core.config.training_config import TrainingConfig
from mopoe_core.data.types import Dataset, Modality, Split
from mopoe_core.metrics import class_shares, decoding, evaluation
from mopoe_core.metrics.classifiers import Classifiers
from mopoe_core.metrics.evaluation import evaluate
from mopoe_core.metrics.pictures import write_pictures
from mopoe_core.models.gaussians import Gaussians, products
from mopoe_core.models.model import MultimodalVAE
from mopoe_core.training.run import new_model
from tests.support.naive import powerset
from tests.support.naming import naming
from tests.support.toys import config

LATENT, PRIVATE = 2, 2
NAMES = ("a", "b", "c")
SEEN = tuple(Modality(name, "vector", (LATENT + PRIVATE,), likelihood="normal") for name in NAMES)
SHIFT = 9.0  # private posteriors lie here, far from the prior
SPREADS = (0.5, 0.7, 0.9)


def test_an_mmvae_subset_uses_each_member_for_its_share_of_examples():
    """Where one sample an example is wanted, the members of a subset serve equally many examples, in no fixed order."""
    posteriors = Gaussians(torch.arange(3.0)[:, None, None].expand(3, 12, 1), torch.zeros(3, 12, 1))
    chosen = evaluation._one_member(posteriors, torch.tensor([0, 2]), torch.Generator().manual_seed(0)).mu[:, 0]
    assert sorted(chosen.tolist()) == [0.0] * 6 + [2.0] * 6
    assert chosen.tolist() != sorted(chosen.tolist())


@pytest.fixture(scope="module")
def evaluated(dataset, jury):
    """An untrained MoPoE and its long table."""
    settings = TrainingConfig(dataset="mnist_svhn_text", networks="small", model="mopoe", train_examples=1000, test_examples=300)
    model = new_model(settings, 0, dataset, torch.device("cpu")).eval()
    return model, evaluate(model, 0, dataset, jury, torch.device("cpu"))


def test_the_long_table_holds_every_metric_once_in_order(evaluated):
    """The names are those that a specification may use as objectives, each with n, unit and a finite error."""
    _, table = evaluated
    assert [metric.name for metric in table] == metric_names.metric_names(("mnist", "svhn", "text"), classes=10)
    assert all(metric.n == (5000 if metric.subset == "prior" else 300) for metric in table)
    assert all(math.isfinite(metric.value) and metric.mc_error >= 0 for metric in table)


def test_evaluation_repeats_to_the_last_bit(evaluated, dataset, jury):
    """The same model and seed give the same table; another seed another one."""
    model, table = evaluated
    assert evaluate(model, 0, dataset, jury, torch.device("cpu")) == table
    assert evaluate(model, 1, dataset, jury, torch.device("cpu")) != table


def test_the_probe_is_scikit_learns(evaluated, dataset):
    """The probe's accuracy equals that of a logistic regression fitted here on the same 500 posterior means."""
    model, table = evaluated
    train, test = dataset.train.take(1000, 0), dataset.test.take(300, 0)
    rows = torch.randperm(1000, generator=evaluation.generator(torch.device("cpu"), 0, "probe"))[:500]
    with torch.no_grad():
        fit = model.encode(train.batch(rows)).shared.mu[0].numpy()
        judged = model.encode(test.batch(torch.arange(300))).shared.mu[0].numpy()
    probe = LogisticRegression(max_iter=1000).fit(fit, train.labels[rows].numpy())
    expected = probe.score(judged, test.labels.numpy())
    assert next(m.value for m in table if m.name == "probe/mnist") == pytest.approx(expected, abs=1e-12)


def test_summaries_are_means_of_their_parts(evaluated):
    """given_k is the mean over subsets of k modalities, for coherence over the targets outside the subset."""
    _, table = evaluated
    value = {metric.name: metric.value for metric in table}
    pairs = [("mnist.svhn", "text"), ("mnist.text", "svhn"), ("svhn.text", "mnist")]
    assert value["coherence/given_2"] == pytest.approx(sum(value[f"coherence/{s}/{t}"] for s, t in pairs) / 3)
    assert value["probe/given_2"] == pytest.approx(sum(value[f"probe/{s}"] for s, _ in pairs) / 3)


def test_coherence_counts_what_a_judge_that_always_says_3_would_see(evaluated, dataset):
    """With judges that see a 3 in everything, conditional coherence is the share of threes and joint coherence is 1."""
    model, _ = evaluated

    class Three(nn.Module):
        def forward(self, x):
            return torch.eye(10)[3].expand(len(x), -1)

    jury = Classifiers({m.name: Three() for m in dataset.modalities}, {}, "")
    table = evaluate(model, 0, dataset, jury, torch.device("cpu"))
    threes = float((dataset.test.take(300, 0).labels == 3).double().mean())
    shares = {metric.value for metric in table if metric.kind == metric_names.COHERENCE and metric.subset != "prior"}
    assert all(share == pytest.approx(threes) for share in shares)
    value = {metric.name: metric.value for metric in table}
    assert value["coherence/joint"] == 1
    for modality in dataset.modalities:
        assert [value[f"generated/{modality.name}/{c}"] for c in range(10)] == [0, 0, 0, 1, 0, 0, 0, 0, 0, 0]
        assert value[f"effective_classes/{modality.name}"] == 1
    assert value["labels/3"] == pytest.approx(threes)
    assert value["effective_classes/labels"] > 9


def test_log_likelihood_of_a_mixture_is_at_least_its_members_mean(dataset, jury):
    """MMVAE's bound given all modalities is no worse than the mean of its members' bounds by more than log 3 and noise."""
    settings = TrainingConfig(dataset="mnist_svhn_text", networks="small", model="mmvae", train_examples=1000, test_examples=100)
    model = new_model(settings, 0, dataset, torch.device("cpu")).eval()
    value = {m.name: m.value for m in evaluate(model, 0, dataset, jury, torch.device("cpu"))}
    members = [value[f"log_likelihood/{name}"] for name in ("mnist", "svhn", "text")]
    assert value["log_likelihood/joint"] >= sum(members) / 3 - math.log(3) - 5


def test_no_call_of_a_decoder_makes_more_numbers_than_the_bound(evaluated, dataset, jury, monkeypatch):
    """However many subsets and samples there are, a decoder is asked for at most `CPU_AT_ONCE` numbers; and the table stays the same."""
    model, table = evaluated
    made = []
    hooks = [d.register_forward_hook(lambda _, __, raw: made.append(raw.numel())) for d in model.decoders.values()]
    monkeypatch.setattr(decoding, "CPU_AT_ONCE", 100_000)
    again = evaluate(model, 0, dataset, jury, torch.device("cpu"))
    for hook in hooks:
        hook.remove()
    assert 50_000 < max(made) <= 100_000
    for ours, expected in zip(again, table, strict=True):
        assert ours.value == pytest.approx(expected.value, rel=1e-5, abs=0.004), ours.name


class Shown(nn.Module):
    """An encoder whose posterior has what it is shown as its mean, and a known standard deviation."""

    def __init__(self, spread):
        super().__init__()
        self.logvar = 2 * math.log(spread)

    def forward(self, x):
        """(B, D + P)."""
        return x, torch.full_like(x, self.logvar)


class Recorder(nn.Module):
    """A classifier that keeps what it is shown; the logits of classes or attributes are its first numbers."""

    def __init__(self, width):
        super().__init__()
        self.seen, self.width = [], width

    def __deepcopy__(self, memo):
        return self

    def forward(self, x):
        """(B, A)."""
        self.seen.append(x)
        return x[:, : self.width]


class Jury(Classifiers):
    """Judges that remember."""

    def prior(self):
        """What was decoded from the prior, by modality: (5000, D + P)."""
        return {name: torch.cat(judge.seen)[:5000] for name, judge in self.networks.items()}

    def conditional(self):
        """What was decoded given each subset, by subset and target: (N, D + P)."""
        every, found = metric_names.subsets(NAMES), {}
        for name, judge in self.networks.items():
            batches = torch.cat(judge.seen)[5000:].split(
                evaluation.BATCH * len(every)
            )  # of each batch one subset after the other
            by_subset = [torch.cat(parts) for parts in zip(*(batch.chunk(len(every)) for batch in batches), strict=True)]
            found |= {(subset, name): latents for subset, latents in zip(every, by_subset, strict=True)}
        return found


def recording(width=3):
    """Judges of the three modalities."""
    return Jury({name: Recorder(width) for name in NAMES}, {}, "")


def transparent(model="mopoe", **changes):
    """A model that decodes a latent into itself."""
    built = MultimodalVAE(config(model, latent_dim=LATENT, private_dim=PRIVATE, importance_samples=3, **changes), SEEN)
    for name, spread in zip(NAMES, SPREADS, strict=True):
        built.encoders[name], built.decoders[name] = Shown(spread), nn.Identity()
    return built.eval()


def shown(attributes=0, items=600, copies=1, seed=0):
    """Vectors whose first numbers are the shared means, and whose last are SHIFT; each item in as many examples as asked."""
    rng = np.random.default_rng(seed)

    def split(count):
        labels = torch.from_numpy(rng.integers(0, 3, count) if not attributes else rng.integers(0, 2, (count, attributes)))
        labels = labels.to(torch.uint8 if attributes else torch.int64)
        values = {}
        for name in NAMES:
            means = rng.normal(0, 1.5, (count, LATENT + PRIVATE))
            means[:, LATENT:] = SHIFT
            values[name] = torch.from_numpy(means.astype(np.float32))
        rows = torch.arange(count).repeat_interleave(copies)
        return Split(SEEN, values, dict.fromkeys(NAMES, labels), dict.fromkeys(NAMES, rows), labels[rows])

    known = tuple(f"has_{a}" for a in range(attributes))
    return Dataset("toys", "own", SEEN, split(600), split(items), attributes or 3, "", known)


def seen_by(model, data, seed=0):
    """What the judges of an evaluation were shown, the test set in the order that it was taken in, and the table."""
    jury = recording(2 if data.attributes else 3)
    table = evaluate(model, seed, data, jury, torch.device("cpu"))
    test = data.test.take(len(data.test), evaluation.SELECTION_SEED)
    return jury, test, table


def normal(values):
    """Whether numbers may be draws from N(0, 1), at a level that one in 10,000 would fail."""
    return stats.kstest(np.asarray(values).ravel(), "norm").pvalue > 1e-4


def test_joint_coherence_draws_everything_from_the_prior():
    """z is from N(0, I) and one for all modalities; the private latents are from N(0, I) and each modality's own."""
    jury, _, table = seen_by(transparent(), shown())
    drawn = jury.prior()
    first = drawn["a"]
    assert first.shape == (5000, LATENT + PRIVATE)
    assert normal(first[:, :LATENT])
    for name in ("b", "c"):
        assert torch.equal(drawn[name][:, :LATENT], first[:, :LATENT])
    private = np.stack([drawn[name][:, LATENT + p].numpy() for name in NAMES for p in range(PRIVATE)])
    assert all(normal(row) for row in private)
    correlations = np.corrcoef(np.concatenate([private, first[:, :LATENT].numpy().T]))
    assert np.abs(correlations - np.eye(len(correlations))).max() < 5 / math.sqrt(5000)
    agree = np.mean([len({drawn[name][i, :3].argmax().item() for name in NAMES}) == 1 for i in range(5000)])
    assert table[0].name == "coherence/joint"
    assert table[0].value == pytest.approx(agree)
    assert table[0].mc_error == pytest.approx(math.sqrt(agree * (1 - agree) / 4999))


def entropy(shares):
    """In nats, term by term."""
    return -sum(p * math.log(p) for p in shares if p)


def test_generated_classes_are_counted():
    """Each class's share of the 5,000 draws and of the test examples is a count, the effective number follows from the shares."""
    jury, test, table = seen_by(transparent(), shown())
    value = {metric.name: metric for metric in table}
    drawn = jury.prior() | {"labels": None}
    for name, latents in drawn.items():
        says = (
            test.labels.tolist() if latents is None else [max(range(3), key=row.__getitem__) for row in latents[:, :3].tolist()]
        )
        shares = [says.count(c) / len(says) for c in range(3)]
        rows = [value[f"labels/{c}" if latents is None else f"generated/{name}/{c}"] for c in range(3)]
        assert [row.value for row in rows] == pytest.approx(shares)
        assert {(row.n, row.unit) for row in rows} == {(len(says), "share")}
        assert [row.attribute for row in rows] == ["0", "1", "2"]
        effective = value[f"effective_classes/{name}"]
        assert (effective.value, effective.unit) == (pytest.approx(math.exp(entropy(shares))), "classes")
    for row in (value[f"generated/a/{c}"] for c in range(3)):
        assert row.mc_error == pytest.approx(math.sqrt(row.value * (1 - row.value) / 4999))


def test_generated_attributes_are_counted():
    """The share of draws in which each classifier finds an attribute more likely than not; their entropy is averaged."""
    jury, test, table = seen_by(transparent(), shown(attributes=2))
    value = {metric.name: metric.value for metric in table}
    for name, latents in jury.prior().items():
        shares = [sum(row[a] > 0 for row in latents.tolist()) / 5000 for a in range(2)]
        assert [value[f"generated/{name}/has_{a}"] for a in range(2)] == pytest.approx(shares)
        mean = sum(entropy((p, 1 - p)) for p in shares) / 2
        assert value[f"effective_classes/{name}"] == pytest.approx(math.exp(mean))
    assert [value[f"labels/has_{a}"] for a in range(2)] == pytest.approx(test.labels.double().mean(0).tolist())


def test_the_error_of_the_effective_number_is_that_of_other_draws():
    """Over 2,000 sets of 500 draws of unequal classes, the standard deviation is the error that one set states, within 10 %."""
    rng = np.random.default_rng(0)
    found = [class_shares.effective_classes(rng.choice(4, (500, 1), p=[0.7, 0.2, 0.06, 0.04])) for _ in range(2000)]
    assert np.std([one.value for one in found]) == pytest.approx(np.mean([one.error for one in found]), rel=0.1)


def test_counting_classes_draws_nothing():
    """After the draws from the prior the generator is where the draws alone leave it: no other metric moves."""
    model, data = transparent(), shown()
    states = []
    for draws in (evaluation._prior_latents, lambda m, rng: evaluation._seen_from_prior(m, recording(), data, rng)):
        rng = torch.Generator().manual_seed(5)
        draws(model, rng)
        states.append(rng.get_state())
    assert torch.equal(*states)
    _, _, table = seen_by(model, data)
    assert [m.name for m in table][: -3 * 3 - 4 - 3] == metric_names.metric_names(NAMES)


def test_of_very_many_classes_single_ones_have_no_metric():
    """Beyond a hundred, the effective numbers stay."""
    few, many = metric_names.metric_names(NAMES, classes=100), metric_names.metric_names(NAMES, classes=101)
    assert len(few) - len(many) == 400
    assert many[-4:] == [f"effective_classes/{name}" for name in (*NAMES, "labels")]


def test_unconditional_pictures_share_z_alone(tmp_path, monkeypatch):
    """As in joint coherence: 100 draws of one z for all modalities, and of a private latent for each."""
    model, drawn = transparent(), {}

    def generate(latents, modality):
        drawn.setdefault(modality.name, latents)
        return latents

    monkeypatch.setattr(model, "generate", generate)
    write_pictures(model, 0, shown(), torch.device("cpu"), tmp_path)
    assert torch.equal(drawn["a"][:, :LATENT], drawn["b"][:, :LATENT])
    parts = np.concatenate([drawn["a"].numpy().T, drawn["b"][:, LATENT:].numpy().T])
    assert parts.shape == (LATENT + 2 * PRIVATE, 100)
    assert np.abs(np.corrcoef(parts) - np.eye(len(parts))).max() < 5 / math.sqrt(100)


@pytest.mark.parametrize("prior_expert", ["none", "full"])
def test_coherence_is_of_a_sample_of_the_subsets_posterior_and_not_of_its_mean(prior_expert):
    """What is judged, standardised by the subset's product of experts, is N(0, 1); with `full` all together have the prior too."""
    jury, test, _ = seen_by(transparent(prior_expert=prior_expert), shown())
    means = torch.stack([test.items[name][test.rows[name]][:, :LATENT] for name in NAMES]).double()
    for subset in powerset(3):
        precision = sum(1 / SPREADS[m] ** 2 for m in subset) + (prior_expert == "full" and len(subset) == 3)
        mean = sum(means[m] / SPREADS[m] ** 2 for m in subset) / precision
        for target in NAMES:
            z = jury.conditional()[tuple(NAMES[m] for m in subset), target][:, :LATENT]
            assert normal((z - mean) * math.sqrt(precision)), (subset, target)


@pytest.mark.parametrize("given_private", ["prior", "posterior"])
def test_a_given_modalitys_private_latent_comes_from_where_the_configuration_says(given_private):
    """A target's private latent is from N(0, I); with `posterior`, of a given modality from its own posterior, around SHIFT."""
    jury, _, _ = seen_by(transparent(given_private=given_private), shown())
    for (subset, target), latents in jury.conditional().items():
        private = latents[:, LATENT:]
        if given_private == "posterior" and target in subset:
            assert normal((private - SHIFT) / SPREADS[NAMES.index(target)])
        else:
            assert normal(private)


@pytest.mark.parametrize("given_private", ["prior", "posterior"])
def test_pictures_and_a_loaded_model_draw_private_latents_from_there_too(given_private, tmp_path, monkeypatch):
    """Given `a`, what is decoded into `a` has private latents around 0, or with `posterior` around SHIFT; into `b` always around 0."""
    model, drawn = transparent(given_private=given_private), {}
    x = {"a": shown().test.batch(torch.arange(400))["a"]}
    expected = SHIFT if given_private == "posterior" else 0.0
    made = model.generate_given(x, torch.Generator().manual_seed(0))
    assert float(made["a"][:, LATENT:].mean()) == pytest.approx(expected, abs=0.3)
    assert float(made["b"][:, LATENT:].mean()) == pytest.approx(0, abs=0.3)
    asked = model.generate_given(x, torch.Generator().manual_seed(0), given_private="posterior")
    assert float(asked["a"][:, LATENT:].mean()) == pytest.approx(SHIFT, abs=0.3)
    with pytest.raises(ValueError, check=naming("given_private", "'mean'", "prior", "posterior")):
        model.generate_given(x, torch.Generator(), given_private="mean")

    def generate(latents, modality):
        drawn.setdefault(modality.name, []).append(latents)
        return latents

    monkeypatch.setattr(model, "generate", generate)
    write_pictures(model, 0, shown(), torch.device("cpu"), tmp_path)
    given_everything = torch.cat(drawn["a"][-3:])[:, LATENT:]
    assert float(given_everything.mean()) == pytest.approx(expected, abs=0.7)


def test_each_example_of_a_mixture_is_sampled_from_one_member():
    """MMVAE given two modalities: what is judged comes from one of both posteriors, from each for half of every batch."""
    jury, test, _ = seen_by(transparent("mmvae"), shown(items=512))
    latents = jury.conditional()[("a", "c"), "b"][:, :LATENT].double()
    log_density = [
        torch.distributions.Normal(test.items[n][test.rows[n]][:, :LATENT].double(), SPREADS[NAMES.index(n)])
        .log_prob(latents)
        .sum(1)
        for n in ("a", "c")
    ]
    nearer_a = float((log_density[0] > log_density[1]).double().mean())
    assert 0.4 < nearer_a < 0.6


def test_coherence_counts_what_the_judges_see():
    """The share of examples whose largest logit is the label, for each subset and target, with its error over shared items."""
    jury, test, table = seen_by(transparent(), shown())
    value = {metric.name: metric for metric in table}
    for (subset, target), latents in jury.conditional().items():
        right = (latents[:, :3].argmax(1) == test.labels).double().mean()
        metric = value[f"coherence/{'.'.join(subset)}/{target}"]
        assert metric.value == pytest.approx(float(right))
        assert (metric.kind, metric.subset, metric.target, metric.n) == ("coherence", ".".join(subset), target, 600)
    outside = [value[f"coherence/{'.'.join(s)}/{t}"].value for s, t in jury.conditional() if len(s) == 2 and t not in s]
    assert value["coherence/given_2"].value == pytest.approx(np.mean(outside))


def test_examples_that_share_their_items_have_the_error_of_the_items():
    """A probe judges all copies of an item alike: five copies of 120 items have the error of 120 examples, not of 600."""
    _, test, table = seen_by(transparent(), shown(items=120, copies=5))
    for metric in table:
        if metric.kind == metric_names.PROBE and "given" not in metric.name:
            assert metric.n == 600
            assert metric.mc_error == pytest.approx(math.sqrt(metric.value * (1 - metric.value) / 119))


def test_attributes_are_average_precisions_of_the_judges_scores():
    """Each attribute's coherence is scikit-learn's on what was judged, their mean is the metric without an attribute."""
    jury, test, table = seen_by(transparent(), shown(attributes=2))
    assert [m.name for m in table] == metric_names.metric_names(NAMES, ("has_0", "has_1"))
    value = {metric.name: metric for metric in table}
    for (subset, target), latents in jury.conditional().items():
        name = f"coherence/{'.'.join(subset)}/{target}"
        each = [average_precision_score(test.labels[:, a], latents[:, a]) for a in range(2)]
        assert [value[f"{name}/has_{a}"].value for a in range(2)] == pytest.approx(each)
        assert value[name].value == pytest.approx(np.mean(each))
        assert value[name].unit == value[f"{name}/has_0"].unit == metric_names.AVERAGE_PRECISION
    drawn = jury.prior()
    same = [(drawn["a"][:, a] > 0) == (drawn["b"][:, a] > 0) for a in range(2)]
    same = [s & ((drawn["a"][:, a] > 0) == (drawn["c"][:, a] > 0)) for a, s in enumerate(same)]
    assert value["coherence/joint"].value == pytest.approx(float(torch.stack(same).double().mean()))
    assert all(math.isfinite(m.value) and m.mc_error >= 0 for m in table)


def test_the_probe_of_attributes_ranks_by_scikit_learns_scores():
    """The probe finds an attribute that the first shared dimension decides, where the modality shows it, as LogisticRegression would."""
    data = shown(attributes=2)
    for split in (data.train, data.test):
        for _name in NAMES:
            split.labels[:, 0] = (split.items["a"][:, 0] > 0).to(torch.uint8)
    _, test, table = seen_by(transparent(), data)
    value = {metric.name: metric.value for metric in table}
    assert value["probe/a/has_0"] > 0.99
    assert value["probe/b/has_0"] < 0.7
    rows = torch.randperm(600, generator=evaluation.generator(torch.device("cpu"), 0, "probe"))[:500]
    fit = LogisticRegression(max_iter=1000).fit(
        data.train.items["b"][rows][:, :LATENT].numpy(), data.train.labels[rows, 1].numpy()
    )
    scores = fit.decision_function(test.items["b"][test.rows["b"]][:, :LATENT].numpy())
    assert value["probe/b/has_1"] == pytest.approx(average_precision_score(test.labels[:, 1], scores), abs=1e-9)


def test_a_model_whose_posterior_is_not_finite_is_not_measured():
    """An encoder that gives NaN ends the evaluation with an error that says so."""
    model = transparent()
    data = shown()
    data.test.items["b"][7, 0] = float("nan")
    with pytest.raises(FloatingPointError, match="diverged"):
        evaluate(model, 0, data, recording(), torch.device("cpu"))


def test_the_prior_expert_changes_the_conditional_posterior():
    """With the prior expert in all products, q(z|x_m) is that of MVAE: precisions gain one."""
    model = MultimodalVAE(config("mvae", latent_dim=LATENT), SEEN).double()
    rows = model.objective.spec.conditional_rows([1])
    chance = torch.Generator().manual_seed(9)
    experts = Gaussians(*(torch.randn(3, 40, LATENT, generator=chance, dtype=torch.float64) for _ in range(2)))
    with_prior = products(experts, torch.tensor(rows, dtype=torch.float64))
    torch.testing.assert_close(torch.exp(-with_prior.logvar[0]), 1 + torch.exp(-experts.logvar[1]))
    without = MultimodalVAE(config("mvae", latent_dim=LATENT, prior_expert="none"), SEEN)
    assert without.objective.spec.conditional_rows([1]) == ((0.0, 0.0, 1.0, 0.0),)
