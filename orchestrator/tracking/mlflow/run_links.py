"""Links to a sweep's runs in MLflow's UI, read from the SQLite file, because MLflow takes seconds to import."""

import sqlite3
from contextlib import closing

from orchestrator.tracking.mlflow.store_address import sqlite_file
from orchestrator.tracking.mlflow.ui import HOST, PORT, WORKFLOW

RUNS = """
select id.value, runs.experiment_id, runs.run_uuid from runs
join experiments on experiments.experiment_id = runs.experiment_id
join tags kind on kind.run_uuid = runs.run_uuid and kind.key = 'kind'
join tags id on id.run_uuid = runs.run_uuid and id.key = kind.value || '_id'
left join tags owner on owner.run_uuid = runs.run_uuid and owner.key = 'storage_id'
where experiments.name = ? and runs.lifecycle_stage = 'active' and kind.value in ('trial', 'cell')
and coalesce(owner.value, '') = ?
"""


def run_links(uri: str, experiment: str, storage_id: str = "") -> dict[str, str]:
    """Returns the address of each run as `mopoe ui` serves it, by the id of its trial or cell.

    A storage without an id has the runs without a storage, which earlier versions wrote. Returns no links if the store is a server, does
    not exist, or cannot be read: a report can do without them.
    """
    path = sqlite_file(uri)
    if path is None or not path.is_file():
        return {}
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as store:
            rows = store.execute(RUNS, (experiment, storage_id)).fetchall()
    except sqlite3.Error:  # locked, damaged, or written by an MLflow with other tables
        return {}
    prefix, query = f"http://{HOST}:{PORT}/#/experiments", f"?workflowType={WORKFLOW}"
    return {key: f"{prefix}/{experiment_id}/runs/{run_id}{query}" for key, experiment_id, run_id in rows}
