"""The options that the benchmarks' commands have in common."""

import argparse
from pathlib import Path


def add_data(parser: argparse.ArgumentParser) -> None:
    """Add `--data`, the folder of datasets."""
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of datasets")


def add_classifiers(parser: argparse.ArgumentParser) -> None:
    """Add `--classifiers`, a folder that a later command can use again."""
    parser.add_argument("--classifiers", type=Path, help="folder of classifiers; a temporary one when left out")
