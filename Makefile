# Two commands: `make quickstart` and `make test`. Both make the virtual environment first, if it is not there.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin

.PHONY: quickstart test lint install

quickstart: install
	$(BIN)/python -m orchestrator sweep sweeps/quickstart.yaml

test: lint
	$(BIN)/python -m pytest -q --durations=10

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

install: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@
