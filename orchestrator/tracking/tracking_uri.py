"""MLflow's store as the environment names it. Apart from `tracking`, because a wrong name is refused before MLflow is imported."""

import os

from mopoe_core.errors import UserError
from mopoe_core.storage.paths import expand
from mopoe_core.storage.uri_secrets import masked


def named() -> str | None:
    """What MLFLOW_TRACKING_URI names, with `~` and variables replaced in its path; None where it is not set.

    Raises UserError where a variable in it is not set.
    """
    said = os.environ.get("MLFLOW_TRACKING_URI")
    if not said:
        return None
    before, mark, path = said.partition("sqlite:///")
    try:
        return f"{mark}{expand(path)}" if mark and not before else expand(said)
    except ValueError as error:
        raise UserError(f"MLFLOW_TRACKING_URI: {masked(said)!r} {error}") from None
