"""Where MLflow's UI shows a sweep's runs, read from its SQLite file without MLflow, which takes seconds to load."""

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
    """Id of a trial or cell to the address of its run, as `mopoe ui` serves it.

    A storage without an id has the runs that name no storage, which earlier versions wrote. Empty where the store is a server, is not
    there yet, or cannot be read: a report does without.
    """
    path = sqlite_file(uri)
    if path is None or not path.is_file():
        return {}
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as store:
            found = store.execute(RUNS, (experiment, storage_id)).fetchall()
    except sqlite3.Error:  # locked, damaged, or of an MLflow that keeps its runs otherwise
        return {}
    start, end = f"http://{HOST}:{PORT}/#/experiments", f"?workflowType={WORKFLOW}"
    return {key: f"{start}/{number}/runs/{run}{end}" for key, number, run in found}
