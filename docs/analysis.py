"""A first look at a sweep: `python -m orchestrator export SWEEP.yaml`, then `python docs/analysis.py <the table that it names>`."""

import sys
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

COHERENCE, LIKELIHOOD = "coherence/joint", "log_likelihood/joint"

file = Path(sys.argv[1])
cells = pd.read_parquet(file).pivot_table(index=["model", "label", "beta"], columns="name", values="value")  # means over seeds
print(cells[[COHERENCE, LIKELIHOOD]])

figure = Figure(figsize=(5, 4), layout="constrained")
axes = figure.subplots()
for model, found in cells.sort_index(level="beta").groupby(level="model"):
    axes.plot(found[COHERENCE], found[LIKELIHOOD], "o-", label=model)
axes.set(xlabel=f"{COHERENCE} (share)", ylabel=f"{LIKELIHOOD} (nats)")
axes.legend()
figure.savefig(file.with_suffix(".png"), dpi=150)
