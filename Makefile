# `make quickstart`, `make test`, `make test-long` and `make bench`. Each makes the virtual environment first, if it is not there.
# CI runs `make test`. `make test-long` runs the tests that take minutes, each of which has a smaller one in `make test`.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin

.PHONY: quickstart test test-long bench lint install

quickstart: install
	$(BIN)/mopoe sweep sweeps/quickstart.yaml

test: lint
	$(BIN)/python -m pytest -q --durations=10 -n 2 --dist loadfile --no-loadscope-reorder -m "not long"

test-long: install
	$(BIN)/python -m pytest -q --durations=10 -m long

bench: install
	$(BIN)/python -m benchmarks

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

install: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[cluster,dev]'
	touch $@
