"""The page of MLflow's UI that shows a sweep: its cells, sorted by the first objective, with the columns that matter.

The UI keeps a view that is shared in a tag of the experiment, and takes the tag's key from the address. If the address itself has a facet
of the search, such as `searchFilter`, the UI ignores the tag (MLflow 3.17.2).
"""

import json
from typing import Any
from urllib.parse import quote, urlencode

from mlflow import MlflowClient
from mlflow.entities import Experiment
from mlflow.exceptions import MlflowException

from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.spec.trial import varying_fields
from orchestrator.tracking.mlflow.ui import WORKFLOW

VIEW_TAG = "mlflow.sharedViewState."
RUN_NAME = "attributes.`Run Name`"
WIDTHS = {"attributes": 220, "params": 80, "metrics": 150, "tags": 80}
"""In pixels. The UI's own width of 91 cuts the name and the digits of a metric."""


def show(client: MlflowClient, server: str, spec: SweepSpec, storage_id: str) -> str:
    """Returns where the UI at `server` shows the sweep's cells, and keeps the view there; `server` if MLflow does not have the sweep.

    If the view cannot be written, the address has the search and the order, and the columns are the UI's own.
    """
    experiment = client.get_experiment_by_name(spec.name)
    if experiment is None or experiment.lifecycle_stage != "active":
        return server
    key, content = storage_id or "cells", view(spec, storage_id)
    try:
        _write(client, experiment, VIEW_TAG + key, json.dumps(content))
        facets = {"viewStateShareKey": key}
    except MlflowException:  # the store can only be read
        facets = {facet: str(content[facet]) for facet in ("searchFilter", "orderByKey")}
        facets["orderByAsc"] = json.dumps(content["orderByAsc"])
    query = urlencode({"workflowType": WORKFLOW, **facets}, quote_via=quote)
    return f"{server}/#/experiments/{experiment.experiment_id}/runs?{query}"


def view(spec: SweepSpec, storage_id: str) -> dict[str, Any]:
    """What the UI is to show, in its own words: the cells of this storage, or all if it has no id."""
    own = f" and tags.storage_id = '{storage_id}'" if storage_id else ""
    first, columns = spec.objectives[0], _columns(spec)
    order = [RUN_NAME, *columns]
    return {
        "searchFilter": f"tags.kind = 'cell'{own}",
        "orderByKey": _column("metrics", first.metric),
        "orderByAsc": first.goal == "min",
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "modelVersionFilter": "All Runs",
        "datasetsFilter": [],
        "selectedColumns": columns,
        "columnOrder": order,
        "columnWidths": {column: WIDTHS[column.partition(".")[0]] for column in order},
    }


def _write(client: MlflowClient, experiment: Experiment, tag: str, text: str) -> None:
    """Set a tag, unless the experiment has it: a change of the file would make the next `sweep` ask whether MLflow is complete."""
    if experiment.tags.get(tag) != text:
        client.set_experiment_tag(experiment.experiment_id, tag, text)


def _columns(spec: SweepSpec) -> list[str]:
    """Model, beta, the other fields in which cells differ, the objectives, the count of seeds, and the group.

    No cell has a group if all may be compared; the UI then has no such column.
    """
    fields = ["model", "beta", *(field for field in _varying(spec) if field not in ("model", "beta", "data_hash"))]
    metrics = [objective.metric for objective in spec.objectives]
    columns = [("params", fields), ("metrics", metrics), ("tags", ["n", "group"])]
    return [_column(kind, name) for kind, names in columns for name in names]


def _varying(spec: SweepSpec) -> list[str]:
    """The fields in which cells of one model differ; of a search, those of its space."""
    if spec.search is not None:
        return list(spec.search.space)
    return list(dict.fromkeys(field for fields in varying_fields(spec.cells).values() for field in fields))


def _column(kind: str, name: str) -> str:
    """What the UI calls a column."""
    return f"{kind}.`{name}`"
