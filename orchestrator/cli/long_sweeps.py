"""A sweep that would take above a day is asked for before it starts."""

import os
import sys

import typer

from mopoe_core.errors import UserError
from orchestrator.execution import cpus, gpus
from orchestrator.execution import plan as planning
from orchestrator.execution.plan import Plan
from orchestrator.monitor import durations
from orchestrator.spec.sweep_spec import SweepSpec

LONGEST_UNASKED = durations.DAY
"""Seconds that a sweep may take without being asked for."""


def confirm(spec: SweepSpec, plan: Plan, yes: bool) -> None:
    """Asks whether to start a sweep that would take above a day. Raises UserError where nobody can answer, or where the answer is no.

    Trials that nobody has measured are estimated by the speed of CPUs, so a sweep that would run on GPUs or on a cluster is not asked for
    until something is known of it.
    """
    if yes or not (plan.to_run or plan.proposals.trials):
        return
    is_guess = plan.is_guess
    if is_guess and ("RAY_ADDRESS" in os.environ or (spec.resources.gpu and gpus.usable() != 0)):
        return
    most = cpus.usable()
    seconds = planning.wall_hours(plan, spec.resources, most, gpus.usable()) * 3600
    if seconds <= LONGEST_UNASKED:
        return
    basis = "by a guess, because no such trial was ever measured here" if is_guess else "by past trials"
    takes = f"{spec.name}: takes {durations.about(seconds)} on {most} CPU{'' if most == 1 else 's'}, {basis}"
    if not (sys.stdin and sys.stdin.isatty()):
        raise UserError(f"{takes}; add --yes to start it, or take a smaller --scale")
    if not typer.confirm(f"{takes}. Start it?", err=True):
        raise UserError(f"{spec.name}: not started; nothing was written")
