"""docs/ledger-format.md describes the files of a storage."""

import json
import re
from pathlib import Path

from mopoe_core.storage.record_format import FORMAT
from orchestrator.ledger.leases.lease import Lease
from tests.support import recorded

STATUSES = ("pending", "running", "completed", "diverged", "failed", "cancelled")
PAGE = (Path(__file__).parents[2] / "docs" / "ledger-format.md").read_text(encoding="utf-8")
ROWS = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in PAGE.splitlines() if line.startswith("| ")]
WORDS = set(re.findall(r"`([^`]+)`", PAGE))


def test_the_page_has_every_kind_of_record_with_its_fields(store):
    """For a storage with every kind of record, the page has a row for each kind, and each field."""
    recorded.delete_as_gc_does(store.ledger, store.trials[1])
    storage = store.home / "runs"
    with Lease(storage) as lease:
        assert lease.claim(store.ledger.folder(store.others[0])) is None
        records = [json.loads(path.read_text()) for path in storage.rglob("*.json") if "classifiers" not in path.parts]
    kinds = {row[1] for row in ROWS if len(row) > 4}
    for record in records:
        assert f"`{record['record']['kind']}`" in kinds
        assert record.keys() - {"record", "sha256"} <= WORDS | {"id"}, record["record"]
        for row in [*record.get("metrics", ()), *record.get("history", ())]:
            assert row.keys() <= WORDS


def test_the_page_is_of_the_format_that_is_written():
    """The page states the number of the current format."""
    assert f"**record format {FORMAT}**" in PAGE


def test_the_page_says_when_a_trial_has_each_status():
    """The table has exactly the statuses of the glossary."""
    table = PAGE.partition("### The status")[2].partition("\n## ")[0]
    named = re.findall(r"^\| (`[^|]+`) \|", table, re.MULTILINE)
    assert sorted(re.findall(r"`(\w+)`", " ".join(named))) == sorted(STATUSES)
