"""`python -m orchestrator`."""

from mopoe_core.terminal import escape_tracebacks
from orchestrator.cli.app import main

escape_tracebacks()
main()
