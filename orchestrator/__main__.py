"""`python -m orchestrator`, and the console command `mopoe`."""

from mopoe_core.terminal import escape_tracebacks
from orchestrator.cli.app import main


def start() -> None:
    """Entry point of a process of its own."""
    escape_tracebacks()
    main()


if __name__ == "__main__":
    start()
