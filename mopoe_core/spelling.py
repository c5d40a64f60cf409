"""Suggests an allowed word for one that is not allowed. Pure.

Other tools have other names for the same things: `lr`, `maximize`, `n_epochs`. A table has the names that are used here. Only words that
are allowed at a place are suggested there, so that one table serves all fields and values.
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
"""By a word of other tools, the words that are used here, in the order in which they are tried."""

YES = ("yes", "y", "on", "true")
NO = ("no", "n", "off", "false")


def suggestion(word: object, allowed: Iterable[str], guess: bool = True) -> str:
    """Returns the allowed word that is nearest to a word, or "". Without `guess`, it must have the same meaning."""
    names = list(allowed)
    name_of = {_normalised(name): name for name in reversed(names)}
    normalised = _normalised(str(word))
    for spelling in (normalised, re.sub(r"(^|_)vae$", "", normalised)):
        if spelling in name_of:
            return name_of[spelling]
        synonyms = [name for name in SYNONYMS.get(spelling, ()) if name in names]
        if synonyms:
            return synonyms[0]
    if not guess or not names:
        return ""
    if normalised in (*YES, *NO):
        meaning = "all" if normalised in YES else "none"
        return meaning if meaning in names else names[0]
    close = get_close_matches(normalised, list(name_of), n=1)
    return name_of[close[0]] if close else ""


def nearest(value: object, allowed: Iterable[str]) -> str:
    """Returns ` (did you mean 'x'?)` with the nearest allowed word, or "" if there is none."""
    word = suggestion(value, allowed)
    return f" (did you mean {word!r}?)" if word else ""


def first_of(texts: Sequence[str], most: int) -> str:
    """Returns the first few texts and how many more there are: `a, b and 3 more`."""
    more = f" and {len(texts) - most} more" if len(texts) > most else ""
    return ", ".join(texts[:most]) + more


def _normalised(word: str) -> str:
    """Returns a word without capitals, and with one `_` between its parts: `learning_rate` for `Learning-Rate`."""
    return re.sub(r"[\s_-]+", "_", word.strip().lower())


def number_suggestion(text: object) -> str:
    """Returns a suggestion for a text that looks like a number and is none here, such as `0x1f` or `1,5`; "" for any other text."""
    written = str(text).strip().lower()
    if re.fullmatch(r"[-+]?0[xob][0-9a-f_]+", written):
        try:
            return f" (numbers are decimal here: did you mean {int(written, 0)}?)"
        except ValueError:
            return ""
    if re.fullmatch(r"[-+]?\d+(:[0-5]?\d)+(\.\d*)?", written):
        return " (numbers are decimal here: write seconds, or whatever is counted, as one number)"
    if re.fullmatch(r"[-+]?\d+,\d+", written):
        return f" (did you mean {written.replace(',', '.')}?)"
    return ""


def list_suggestion(text: object) -> str:
    """Returns the list that a text such as `0-4` or `1, 2` means, as a suggestion; "" for any other text."""
    written = str(text).strip()
    span = re.fullmatch(r"(\d{1,9})\s*(?:-|–|:|to|\.{2,3})\s*(\d{1,9})", written)
    count = re.fullmatch(r"range\(\s*(\d{1,9})\s*\)", written)
    if count:
        return f" (did you mean {int(count[1])}?)"
    if span and int(span[1]) < int(span[2]) <= int(span[1]) + 99:
        return f" (did you mean {list(range(int(span[1]), int(span[2]) + 1))}?)"
    if re.fullmatch(r"\d{1,9}(\s*[,; ]\s*\d{1,9})+", written):
        return f" (did you mean [{', '.join(re.findall(r'[0-9]+', written))}]?)"
    return ""


def choose(field: str, value: str, allowed: Any) -> Any:
    """Returns `allowed[value]` if `allowed` is a mapping, else `value`. Raises ValueError with the nearest word if it is not allowed."""
    if value not in allowed:
        raise ValueError(f"{field}: {value!r} is not offered{nearest(value, allowed)}; allowed: {', '.join(allowed)}")
    return allowed[value] if isinstance(allowed, dict) else value
