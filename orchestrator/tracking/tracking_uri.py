"""Reads MLFLOW_TRACKING_URI. Does not import MLflow, because a wrong address is refused before MLflow is imported."""

import os

from mopoe_core.errors import UserError
from mopoe_core.storage.paths import expand
from mopoe_core.storage.uri_secrets import masked


def named() -> str | None:
    """Returns MLFLOW_TRACKING_URI with `~` and variables in its path expanded; None if it is not set.

    Raises UserError if it contains a variable that is not set.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    if not uri:
        return None
    scheme = "sqlite:///"
    try:
        return scheme + expand(uri.removeprefix(scheme)) if uri.startswith(scheme) else expand(uri)
    except ValueError as error:
        raise UserError(f"MLFLOW_TRACKING_URI: {masked(uri)!r} {error}") from None
