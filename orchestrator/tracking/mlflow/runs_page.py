"""The page of MLflow's UI that shows a sweep: its cells, sorted by the first objective, with the columns that matter.

The UI stores a shared view in a tag of the experiment, and takes the tag's key from the address. If the address also has a field of the
view, such as `searchFilter`, the UI ignores the tag (MLflow 3.17.2).
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
"""Widths of the UI's columns in pixels. With the UI's default of 91, names and digits of metrics are cut off."""


def show(client: MlflowClient, server: str, spec: SweepSpec, storage_id: str) -> str:
    """Store the view of the sweep's cells in MLflow; returns its address in the UI at `server`, or `server` if MLflow has no such sweep.

    If the view cannot be stored, the address itself has filter and order, and the UI shows its default columns.
    """
    experiment = client.get_experiment_by_name(spec.name)
    if experiment is None or experiment.lifecycle_stage != "active":
        return server
    key, content = storage_id or "cells", view(spec, storage_id)
    try:
        _write(client, experiment, VIEW_TAG + key, json.dumps(content))
        fields = {"viewStateShareKey": key}
    except MlflowException:  # the store can only be read
        fields = {field: str(content[field]) for field in ("searchFilter", "orderByKey")}
        fields["orderByAsc"] = json.dumps(content["orderByAsc"])
    query = urlencode({"workflowType": WORKFLOW, **fields}, quote_via=quote)
    return f"{server}/#/experiments/{experiment.experiment_id}/runs?{query}"


def view(spec: SweepSpec, storage_id: str) -> dict[str, Any]:
    """Returns the view in the UI's format. It shows the cells of this storage, or of all storages if `storage_id` is empty."""
    of_storage = f" and tags.storage_id = '{storage_id}'" if storage_id else ""
    objective, columns = spec.objectives[0], _columns(spec)
    order = [RUN_NAME, *columns]
    return {
        "searchFilter": f"tags.kind = 'cell'{of_storage}",
        "orderByKey": _column("metrics", objective.metric),
        "orderByAsc": objective.goal == "min",
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "modelVersionFilter": "All Runs",
        "datasetsFilter": [],
        "selectedColumns": columns,
        "columnOrder": order,
        "columnWidths": {column: WIDTHS[column.partition(".")[0]] for column in order},
    }


def _write(client: MlflowClient, experiment: Experiment, tag: str, text: str) -> None:
    """Set a tag, unless the experiment has it. A change of the SQLite file would make the next `sweep` load MLflow."""
    if experiment.tags.get(tag) != text:
        client.set_experiment_tag(experiment.experiment_id, tag, text)


def _columns(spec: SweepSpec) -> list[str]:
    """Returns the columns: model, beta, the other fields in which cells differ, the objectives, the number of seeds, and the group.

    If all cells may be compared, no cell has a group, and the UI leaves that column out.
    """
    fields = ["model", "beta", *(field for field in _varying(spec) if field not in ("model", "beta", "data_hash"))]
    metrics = [objective.metric for objective in spec.objectives]
    columns = [("params", fields), ("metrics", metrics), ("tags", ["n", "group"])]
    return [_column(kind, name) for kind, names in columns for name in names]


def _varying(spec: SweepSpec) -> list[str]:
    """Returns the fields in which cells of one model differ; for a search, the fields of its space."""
    if spec.search is not None:
        return list(spec.search.space)
    return list(dict.fromkeys(field for fields in varying_fields(spec.cells).values() for field in fields))


def _column(kind: str, name: str) -> str:
    """Returns the UI's name of a column."""
    return f"{kind}.`{name}`"
