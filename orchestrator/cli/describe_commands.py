"""The commands that describe what a sweep file may contain: `schema` and `metrics`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from mopoe_core.data.dataset_card import DataKey
from mopoe_core.terminal import say
from orchestrator.cli.common import JsonOption, ScaleOption, SpecArgument, expanded
from orchestrator.spec import sweep_file
from orchestrator.spec.json_schema import json_schema

ToOption = Annotated[Path | None, typer.Option("--to", metavar="FILE", help="Write it to this file.")]


def schema(to: ToOption = None) -> None:
    """Print a JSON schema of sweep files, with which an editor completes and checks them."""
    text = json.dumps(json_schema(), indent=1)
    if to is None:
        say(text)
    else:
        to = expanded("--to", to)
        to.write_text(f"{text}\n", encoding="utf-8")
        say(f"schema  {to}")


def metrics(file: SpecArgument, scale: ScaleOption = None, as_json: JsonOption = False) -> None:
    """List the metrics that a sweep's trials will have. Those of every dataset can be an objective. Creates nothing."""
    by_data = {
        _data_name(key): names
        for key, names in sweep_file.offered_metrics(sweep_file.load(file, scale, with_metrics=False)).items()
    }
    first, *others = by_data.values()
    shared = [name for name in first if all(name in names for names in others)]
    if as_json:
        say(json.dumps({"objectives": shared, "data": by_data}, indent=1))
        return
    say("\n".join(["can be an objective:", *(f"  {name}" for name in shared)]))
    for data, names in by_data.items():
        if rest := [name for name in names if name not in shared]:
            say("\n".join([f"only of {data}:", *(f"  {name}" for name in rest)]))


def _data_name(key: DataKey) -> str:
    return f"{key.dataset}, {key.source}, {key.modalities} modalities, evaluated on {key.evaluate_on}"
