"""A first look at a sweep: `mopoe export SWEEP.yaml`, then `python docs/analysis.py <the table that it names>`."""

import sys
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

COHERENCE, LIKELIHOOD = "coherence/joint", "log_likelihood/joint"

file = Path(sys.argv[1])
table = pd.read_parquet(file)
if "group" not in table:  # it is there where not all cells may be compared: other data, or measured in another way
    table["group"] = ""
cells = table.pivot_table(index=["group", "model", "label", "beta"], columns="name", values="value")  # means over seeds
print(cells[[COHERENCE, LIKELIHOOD]])

groups = list(cells.groupby(level="group"))
figure = Figure(figsize=(5, 4 * len(groups)), layout="constrained")
for axes, (group, comparable) in zip(figure.subplots(len(groups), 1, squeeze=False)[:, 0], groups, strict=True):
    for model, found in comparable.sort_index(level="beta").groupby(level="model"):
        axes.plot(found[COHERENCE], found[LIKELIHOOD], "o-", label=model)
    axes.set(title=group, xlabel=f"{COHERENCE} (share)", ylabel=f"{LIKELIHOOD} (nats)")
    axes.legend()
figure.savefig(file.with_suffix(".png"), dpi=150)
