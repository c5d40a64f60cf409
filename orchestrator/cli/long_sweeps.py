"""Asks the user before a sweep starts that would take more than a day."""

import sys

import typer

from mopoe_core.errors import UserError
from orchestrator.execution import cluster, cpus, gpus
from orchestrator.execution import plan as planning
from orchestrator.execution.plan import Plan
from orchestrator.monitor import durations
from orchestrator.spec.sweep_spec import SweepSpec

LONGEST_UNASKED = durations.DAY
"""Seconds that a sweep may take before the user is asked."""


def confirm(spec: SweepSpec, plan: Plan, yes: bool) -> None:
    """Ask whether to start a sweep that would take more than a day. Raises UserError if nobody can answer, or the answer is no.

    Without past trials, the estimate is a guess by the speed of CPUs. So the user is not asked about a sweep on GPUs or a cluster until
    some of its trials have been measured.
    """
    if yes or not (plan.to_run or plan.to_come.trials):
        return
    is_guess = plan.is_guess
    if is_guess and (cluster.is_named() or (spec.resources.gpu and gpus.usable() != 0)):
        return
    cores = cpus.usable()
    seconds = planning.wall_hours(plan, spec.resources, cores, gpus.usable()) * 3600
    if seconds <= LONGEST_UNASKED:
        return
    basis = "by a guess, because no such trial was ever measured here" if is_guess else "by past trials"
    takes = f"{spec.name}: takes {durations.about(seconds)} on {cores} CPU{'' if cores == 1 else 's'}, {basis}"
    if not (sys.stdin and sys.stdin.isatty()):
        raise UserError(f"{takes}; add --yes to start it, or take a smaller --scale")
    if not typer.confirm(f"{takes}. Start it?", err=True):
        raise UserError(f"{spec.name}: not started; nothing was written")
