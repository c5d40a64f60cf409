"""The nearest right spelling of a word that is not allowed. Pure.

Users come from other tools, which call the same things by other names: `lr`, `maximize`, `n_epochs`. A table says what those are called
here; only what is allowed at the place in question is ever suggested, so that one table serves every field and every value.
"""

import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any

SYNONYMS: dict[str, tuple[str, ...]] = {
    # fields of a cell
    "lr": ("learning_rate",),
    "lr_rate": ("learning_rate",),
    "step_size": ("learning_rate",),
    "rate": ("learning_rate",),
    "wd": ("weight_decay",),
    "l2": ("weight_decay", "normal"),
    "bs": ("batch_size",),
    "batch": ("batch_size",),
    "batchsize": ("batch_size",),
    "minibatch": ("batch_size",),
    "train_batch_size": ("batch_size",),
    "epoch": ("epochs",),
    "n_epochs": ("epochs",),
    "num_epochs": ("epochs",),
    "nb_epochs": ("epochs",),
    "max_epochs": ("epochs",),
    "training_epochs": ("epochs",),
    "training_iteration": ("epochs",),
    "latent": ("latent_dim",),
    "latents": ("latent_dim",),
    "latent_size": ("latent_dim",),
    "latent_dims": ("latent_dim",),
    "n_latents": ("latent_dim",),
    "class_dim": ("latent_dim",),
    "z": ("latent_dim",),
    "z_dim": ("latent_dim",),
    "dim_z": ("latent_dim",),
    "zdim": ("latent_dim",),
    "style_dim": ("private_dim",),
    "w_dim": ("private_dim",),
    "beta_style": ("beta_private",),
    "kl_weight": ("beta",),
    "b": ("beta",),
    "method": ("model",),
    "models": ("model",),
    "architecture": ("networks",),
    "arch": ("networks",),
    "network": ("networks",),
    "net": ("networks",),
    "data": ("dataset",),
    "datasets": ("dataset",),
    "n_modalities": ("modality_count",),
    "num_modalities": ("modality_count",),
    "modalities": ("modality_count",),
    "num_mods": ("modality_count",),
    "iwae_samples": ("importance_samples",),
    "n_samples": ("importance_samples", "cells"),
    "k": ("importance_samples",),
    "n_train": ("train_examples",),
    "train_size": ("train_examples",),
    "num_train": ("train_examples",),
    "n_test": ("test_examples",),
    "test_size": ("test_examples",),
    "num_test": ("test_examples",),
    "split": ("evaluate_on",),
    "dropout_modality": ("missing",),
    # fields of a sweep
    "seed": ("seeds",),
    "n_seeds": ("seeds",),
    "num_seeds": ("seeds",),
    "repeats": ("seeds",),
    "repetitions": ("seeds",),
    "replicates": ("seeds",),
    "metric": ("metric", "objectives"),
    "metrics": ("objectives", "metric"),
    "objective": ("objectives",),
    "parameters": ("grid", "space"),
    "params": ("grid", "space"),
    "sweep": ("grid",),
    "matrix": ("grid",),
    "config": ("base",),
    "defaults": ("base",),
    "common": ("base",),
    "fixed": ("base",),
    "output": ("storage",),
    "output_dir": ("storage",),
    "out": ("storage",),
    "folder": ("storage",),
    "dir": ("storage",),
    "checkpoints": ("keep",),
    "title": ("name",),
    "skip": ("exclude",),
    # objectives
    "direction": ("goal",),
    "mode": ("goal",),
    "optimize": ("goal",),
    "maximize": ("max", "goal", "objectives"),
    "maximise": ("max", "goal", "objectives"),
    "maximum": ("max",),
    "maximal": ("max",),
    "highest": ("max",),
    "higher": ("max",),
    "up": ("max",),
    "minimize": ("min", "goal", "objectives"),
    "minimise": ("min", "goal", "objectives"),
    "minimum": ("min",),
    "minimal": ("min",),
    "lowest": ("min",),
    "lower": ("low", "at_least", "min"),
    "down": ("min",),
    "ref": ("reference",),
    "reference_point": ("reference",),
    "coherence": ("coherence/joint",),
    "joint_coherence": ("coherence/joint",),
    "coherence_joint": ("coherence/joint",),
    "ll": ("log_likelihood/joint",),
    "loglik": ("log_likelihood/joint",),
    "likelihood": ("likelihood", "log_likelihood/joint"),
    "log_likelihood": ("log_likelihood/joint",),
    "joint_log_likelihood": ("log_likelihood/joint",),
    "log_likelihood_joint": ("log_likelihood/joint",),
    # resources
    "cpus": ("cpu",),
    "num_cpus": ("cpu",),
    "threads": ("cpu",),
    "gpus": ("gpu",),
    "num_gpus": ("gpu",),
    "cuda": ("gpu",),
    "workers": ("at_once",),
    "n_jobs": ("at_once",),
    "parallel": ("at_once",),
    "concurrency": ("at_once", "concurrent"),
    "max_concurrent": ("at_once", "concurrent"),
    "max_concurrent_trials": ("at_once", "concurrent"),
    "max_retries": ("retries",),
    "max_failures": ("retries",),
    "data_dir": ("data",),
    "data_folder": ("data",),
    "data_path": ("data",),
    "root": ("data",),
    # a search
    "num_samples": ("cells", "seeds"),
    "n_trials": ("cells",),
    "trials": ("cells",),
    "budget": ("cells",),
    "search_space": ("space",),
    "algorithm": ("sampler",),
    "algo": ("sampler",),
    "optimizer": ("sampler",),
    "values": ("choices",),
    "choice": ("choices",),
    "options": ("choices",),
    "categories": ("choices",),
    "categorical": ("choices",),
    "min": ("min", "low", "at_least"),
    "max": ("max", "high", "at_most"),
    "start": ("start", "low"),
    "stop": ("stop", "high"),
    "upper": ("high", "at_most"),
    "from": ("low",),
    "to": ("high",),
    "log_scale": ("log",),
    "logarithmic": ("log",),
    "loguniform": ("log",),
    "q": ("step",),
    "num": ("points",),
    "steps": ("points",),
    "if": ("when",),
    "condition": ("when",),
    "bayesian": ("gp",),
    "bayes": ("gp",),
    "botorch": ("gp",),
    "hyperopt": ("tpe",),
    "optuna": ("tpe",),
    "sobol": ("qmc",),
    "nsga": ("nsga2",),
    "nsgaii": ("nsga2",),
    "asha": ("halving",),
    "hyperband": ("halving",),
    "successive_halving": ("halving",),
    # values of a cell's fields
    "mst": ("mnist_svhn_text",),
    "mnist_svhn": ("mnist_svhn_text",),
    "mmnist": ("polymnist",),
    "poly_mnist": ("polymnist",),
    "celeb_a": ("celeba",),
    "bimodal_celeba": ("celeba",),
    "poe": ("mvae",),
    "product_of_experts": ("mvae",),
    "moe": ("mmvae",),
    "mixture_of_experts": ("mmvae",),
    "mixture_of_products_of_experts": ("mopoe",),
    "gaussian": ("normal",),
    "gauss": ("normal",),
    "mse": ("normal",),
    "l1": ("laplace",),
    "bce": ("bernoulli",),
    "mlp": ("small",),
    "cnn": ("paper",),
    "resnet": ("paper",),
    "released": ("released_code",),
    "code": ("released_code",),
    "val": ("validation",),
    "valid": ("validation",),
    "dev": ("validation",),
    "real": ("original",),
    "download": ("original",),
    "full": ("full", "original", "paper"),
    "large": ("paper",),
    "tiny": ("smoke",),
    "all": ("all", "last"),
    "best": ("front",),
}
"""What other tools call a thing, and what it is called here, in the order in which they are tried."""

YES = ("yes", "y", "on", "true")
NO = ("no", "n", "off", "false")


def suggestion(word: object, allowed: Iterable[str], guess: bool = True) -> str:
    """The allowed spelling that is nearest to a word, or nothing; without `guess` only one that means the same."""
    names = list(allowed)
    plain = {_plain(name): name for name in reversed(names)}
    wanted = _plain(str(word))
    for spelling in (wanted, re.sub(r"(^|_)vae$", "", wanted)):
        if spelling in plain:
            return plain[spelling]
        same = [name for name in SYNONYMS.get(spelling, ()) if name in names]
        if same:
            return same[0]
    if not guess:
        return ""
    if wanted in (*YES, *NO) and names:
        return next((name for name in (("all",) if wanted in YES else ("none",)) if name in names), names[0])
    close = get_close_matches(wanted, list(plain), n=1)
    return plain[close[0]] if close else ""


def nearest(value: object, allowed: Iterable[str]) -> str:
    """` (did you mean 'x'?)` for the nearest allowed spelling, or nothing."""
    found = suggestion(value, allowed)
    return f" (did you mean {found!r}?)" if found else ""


def first_of(texts: Sequence[str], most: int) -> str:
    """`a, b and 3 more`: the first few texts, and how many more there are."""
    more = f" and {len(texts) - most} more" if len(texts) > most else ""
    return ", ".join(texts[:most]) + more


def _plain(word: str) -> str:
    """Without capitals, and with one sign between words: `Learning-Rate` is `learning_rate`."""
    return re.sub(r"[\s_-]+", "_", word.strip().lower())


def number(text: object) -> str:
    """What to write in place of a text that looks like a number and is none here; nothing for any other text."""
    said = str(text).strip().lower()
    if re.fullmatch(r"[-+]?0[xob][0-9a-f_]+", said):
        try:
            return f" (numbers are decimal here: did you mean {int(said, 0)}?)"
        except ValueError:
            return ""
    if re.fullmatch(r"[-+]?\d+(:[0-5]?\d)+(\.\d*)?", said):
        return " (numbers are decimal here: write seconds, or whatever is counted, as one number)"
    if re.fullmatch(r"[-+]?\d+,\d+", said):
        return f" (did you mean {said.replace(',', '.')}?)"
    return ""


def several(text: object) -> str:
    """The list that a text such as `0-4` or `1, 2` stands for, as a suggestion; nothing for any other text."""
    said = str(text).strip()
    span = re.fullmatch(r"(\d{1,9})\s*(?:-|–|:|to|\.{2,3})\s*(\d{1,9})", said)
    count = re.fullmatch(r"range\(\s*(\d{1,9})\s*\)", said)
    if count:
        return f" (did you mean {int(count[1])}?)"
    if span and int(span[1]) < int(span[2]) <= int(span[1]) + 99:
        return f" (did you mean {list(range(int(span[1]), int(span[2]) + 1))}?)"
    if re.fullmatch(r"\d{1,9}(\s*[,; ]\s*\d{1,9})+", said):
        return f" (did you mean [{', '.join(re.findall(r'[0-9]+', said))}]?)"
    return ""


def choose(field: str, value: str, allowed: Any) -> Any:
    """`allowed[value]` for a mapping, else `value`; a value that is not allowed raises ValueError with the nearest spelling."""
    if value not in allowed:
        raise ValueError(f"{field}: {value!r} is not offered{nearest(value, allowed)}; allowed: {', '.join(allowed)}")
    return allowed[value] if isinstance(allowed, dict) else value
