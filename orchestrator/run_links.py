"""Where MLflow's UI shows a sweep's runs, read from its SQLite file without MLflow, which takes seconds to load."""

import sqlite3
from contextlib import closing
from pathlib import Path

from orchestrator.ui import HOST, PORT

RUNS = """
select id.value, runs.experiment_id, runs.run_uuid from runs
join experiments on experiments.experiment_id = runs.experiment_id
join tags kind on kind.run_uuid = runs.run_uuid and kind.key = 'kind'
join tags id on id.run_uuid = runs.run_uuid and id.key = kind.value || '_id'
where experiments.name = ? and runs.lifecycle_stage = 'active' and kind.value in ('trial', 'cell')
"""


def run_links(uri: str, experiment: str) -> dict[str, str]:
    """Id of a trial or cell to the address of its run, as `python -m orchestrator ui` serves it.

    Empty where the store is a server, is not there yet, or cannot be read: a report does without.
    """
    path = Path(uri.removeprefix("sqlite:///"))
    if not uri.startswith("sqlite:///") or not path.is_file():
        return {}
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as store:
            found = store.execute(RUNS, (experiment,)).fetchall()
    except sqlite3.Error:  # locked, damaged, or of an MLflow that keeps its runs otherwise
        return {}
    return {key: f"http://{HOST}:{PORT}/#/experiments/{number}/runs/{run}" for key, number, run in found}
