"""Checks a user's own dataset before it is used. Each fault is an error of one line.

The arrays are already numpy arrays. The checks run for every command that names such a dataset, so they import no torch.
"""

import numbers
import re
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mopoe_core.data.grey_range import OVERSHOOT, in_unit
from mopoe_core.data.own import images
from mopoe_core.errors import DataError

if TYPE_CHECKING:
    from mopoe_core.data.own.own_dataset import OwnDataset, OwnModality

KINDS = ("vector", "image", "text")
LIKELIHOODS = {
    "vector": ("normal", "laplace", "bernoulli"),
    "image": ("laplace", "normal", "bernoulli"),
    "text": ("categorical",),
}
"""By kind of modality, the allowed likelihoods. The first is the default, except for images, which take the configuration's."""
LEAST_EXAMPLES = 20
RESERVED = re.compile(r"labels|joint|prior|given_[0-9]+")
"""Names that no modality can have, because the labels' arrays and metrics have them."""
TAKEN_BY_TORCH = frozenset(
    re.findall(
        r"\w+",
        """
    T_destination _apply _backward_hooks _backward_pre_hooks _buffers _call_impl _compiled_call_impl _forward_hooks
    _forward_hooks_always_called _forward_hooks_with_kwargs _forward_pre_hooks _forward_pre_hooks_with_kwargs
    _get_backward_hooks _get_backward_pre_hooks _get_name _is_full_backward_hook _load_from_state_dict
    _load_state_dict_post_hooks _load_state_dict_pre_hooks _maybe_warn_non_full_backward_hook _modules _named_members
    _non_persistent_buffers_set _parameters _register_load_state_dict_pre_hook _register_state_dict_hook
    _replicate_for_data_parallel _save_to_state_dict _slow_forward _state_dict_hooks _state_dict_pre_hooks _version
    _wrapped_call_impl add_module apply bfloat16 buffers call_super_init children clear compile cpu cuda double
    dump_patches eval extra_repr float forward get_buffer get_extra_state get_parameter get_submodule half ipu items
    keys load_state_dict modules mtia named_buffers named_children named_modules named_parameters parameters pop
    register_backward_hook register_buffer register_forward_hook register_forward_pre_hook register_full_backward_hook
    register_full_backward_pre_hook register_load_state_dict_post_hook register_load_state_dict_pre_hook register_module
    register_parameter register_state_dict_post_hook register_state_dict_pre_hook requires_grad_ set_extra_state
    set_submodule share_memory state_dict to to_empty train training type update values xpu zero_grad
    """,
    )
)
"""Names that no modality can have, because the model keeps its networks in a torch.nn.ModuleDict, whose attributes have them."""
LONGEST_NAMES = 200
"""Largest number of bytes of all names and once more the longest: the names of picture files and of metrics contain them all."""


def check(place: str, data: "OwnDataset") -> None:
    """Raises DataError, whose line begins with `place`, for a fault that would fail or mislead later."""
    _check_names(place, [m.name for m in data.modalities])
    labels = {"train": data.train_labels, "test": data.test_labels}
    _check_labels(place, labels)
    for modality in data.modalities:
        _check_fields(f"{place}: {modality.name}", modality)
        for split, values in (("train", modality.train), ("test", modality.test)):
            _check_items(f"{place}: {modality.name} ({split})", modality, values, len(labels[split]))


def _check_names(place: str, names: list[Any]) -> None:
    if len(names) < 2:
        raise DataError(f"{place} has {len(names)} modalities; at least 2 make it multimodal")
    for name in names:
        if not isinstance(name, str) or not name.replace("_", "").isalnum() or names.count(name) > 1:
            raise DataError(f"{place} has a modality named {name!r}; allowed: letters, digits and '_', each name once")
        if RESERVED.fullmatch(name):
            raise DataError(f"{place} has a modality named {name!r}, which metrics or labels are called; choose another name")
        if name in TAKEN_BY_TORCH or name.startswith("__"):
            raise DataError(f"{place} has a modality named {name!r}, which torch keeps for itself; choose another name")
    sizes = [len(name.encode()) + 1 for name in names]
    if sum(sizes) + max(sizes) > LONGEST_NAMES:
        raise DataError(f"{place} has names of modalities of {sum(sizes)} bytes, too long for names of files; shorten them")


def _check_labels(place: str, labels: dict[str, NDArray[Any]]) -> None:
    for split, values in labels.items():
        if values.ndim != 1 or not np.issubdtype(values.dtype, np.integer):
            raise DataError(
                f"{place}: {split}_labels are {values.dtype} {values.shape}; they must be whole numbers (N,); convert them "
                "(names of classes: np.unique(names, return_inverse=True)[1])"
            )
        if len(values) < LEAST_EXAMPLES:
            raise DataError(f"{place}: {len(values)} {split} examples are too few; at least {LEAST_EXAMPLES}")
    classes = np.unique(labels["train"])
    if len(classes) < 2 or classes.min() != 0 or classes.max() != len(classes) - 1:
        raise DataError(
            f"{place}: train_labels must be classes 0, 1, ..., each with examples; found {classes[:10].tolist()}; number them anew, for "
            "both splits alike: np.searchsorted(np.unique(train_labels), labels)"
        )
    unknown = np.setdiff1d(labels["test"], classes)
    if len(unknown):
        raise DataError(
            f"{place}: test_labels has the class {unknown[0]}, which train_labels lacks; leave it out of both or of none"
        )


def _check_fields(place: str, modality: "OwnModality") -> None:
    if modality.kind not in KINDS:
        raise DataError(f"{place}: kind {modality.kind!r} is not offered; allowed: {', '.join(KINDS)}")
    if modality.likelihood and modality.likelihood not in LIKELIHOODS[modality.kind]:
        allowed = ", ".join(LIKELIHOODS[modality.kind])
        raise DataError(f"{place}: likelihood {modality.likelihood!r} is not offered for {modality.kind}; allowed: {allowed}")
    for name in ("encoder", "decoder", "judge"):
        function = getattr(modality, name)
        if function is not None and not callable(function):
            raise DataError(
                f"{place}: {name} is of type {type(function).__name__}; it must be a function that makes a torch.nn.Module"
            )
    if not isinstance(modality.judge_accuracy, int | float) or not 0 <= modality.judge_accuracy <= 1:
        raise DataError(f"{place}: judge_accuracy {modality.judge_accuracy!r} is no share; allowed: 0 to 1")


def _check_items(place: str, modality: "OwnModality", values: NDArray[Any], count: int) -> None:
    axes = {"vector": 2, "image": 4, "text": 1}[modality.kind]
    if modality.kind == "image":
        images.check_axes(place, values.shape)
    if values.ndim != axes or len(values) != count:
        raise DataError(f"{place}: has shape {values.shape}; {axes} axes are needed, the first of {count} examples")
    if modality.train.shape[1:] != modality.test.shape[1:]:
        raise DataError(
            f"{place}: train has examples of shape {modality.train.shape[1:]} and test of {modality.test.shape[1:]}; make them equal"
        )
    if modality.kind == "text":
        if values.dtype.kind != "U":
            raise DataError(
                f"{place}: holds {values.dtype}{_first_not_of(str, values)}; text must be strings; {_conversion(values, str)}"
            )
    elif not all(values.shape):
        raise DataError(f"{place}: has shape {values.shape}, so an example holds no number; leave the modality out")
    elif values.dtype.kind not in "buif":
        raise DataError(
            f"{place}: holds {values.dtype}{_first_not_of(numbers.Real, values)}; {modality.kind}s must be numbers; "
            f"{_conversion(values, numbers.Real)}"
        )
    else:
        _check_numbers(place, modality, values)


def _first_not_of(needed: type, values: NDArray[Any]) -> str:
    """Returns the first value of an array of objects that is not of the needed type, and its place; empty if there is none."""
    if values.dtype.kind != "O":
        return ""
    index = next((index for index, value in np.ndenumerate(values) if not isinstance(value, needed)), None)
    return "" if index is None else f" ({' '.join(repr(values[index]).split())[:40]} in {_place_in_array(index)})"


def _conversion(values: NDArray[Any], needed: type) -> str:
    """Returns the advice on how to convert an array of this type to numbers, or to strings."""
    if values.dtype.kind == "O" and not _first_not_of(needed, values):
        return "convert them, x.astype(np.float64)"
    by_kind = {
        "M": "convert them, to seconds since the first training example's time",
        "m": "convert them, to seconds",
        "c": "convert them, real and imaginary parts as columns of their own",
        "S": "decode them, np.char.decode(x)",
        "V": "convert them, each field as a column",
        "O": "convert them, and fill in what is missing or leave the example out",
    }
    return by_kind.get(values.dtype.kind, "convert them")


def _place_in_array(index: tuple[int, ...]) -> str:
    """Returns `row 3`, `row 3, column 2`, or for images the whole index."""
    row, *rest = (int(i) for i in index)
    if not rest:
        return f"row {row}"
    if len(rest) == 1:
        return f"row {row}, column {rest[0]}"
    return f"[{row}, {', '.join(map(str, rest))}]"


def _check_numbers(place: str, modality: "OwnModality", values: NDArray[Any]) -> None:
    if not np.isfinite(values).all():
        first = tuple(np.argwhere(~np.isfinite(values))[0])
        raise DataError(
            f"{place}: holds a value that is not finite ({values[first]} in {_place_in_array(first)}); fill it in or leave the example "
            "out"
        )
    if modality.kind == "image":
        images.check_greys(place, values)
        return
    low, high = float(values.min()), float(values.max())
    if modality.likelihood == "bernoulli" and not in_unit(low, high, 0):
        advice = "clip them, x.clip(0, 1)" if in_unit(low, high, OVERSHOOT) else "scale them"
        raise DataError(
            f"{place}: likelihood bernoulli is of values in [0, 1]; found {low:.9g} to {high:.9g}; {advice}, or choose normal or laplace"
        )
    if max(-low, high) > float(np.finfo(np.float32).max):
        raise DataError(f"{place}: values from {low:g} to {high:g} are too large for float32; scale them to unit variance")
