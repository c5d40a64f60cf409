# `make quickstart`, `make test`, `make test-long`, `make bench` and `make docs`. Each makes the virtual environment first, if it is not there.
# `make quickstart` installs what users need; the others also install the tools of developers.
# With TORCH=cpu, torch is installed without CUDA, which saves most of the disk: from PyTorch's own index, not from PyPI.
# CI runs `make test`. `make test-long` runs the tests that take minutes, each of which has a smaller one in `make test`.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin

.PHONY: quickstart test test-long bench docs lint install

quickstart: install
	$(BIN)/mopoe sweep sweeps/quickstart.yaml

test: lint
	$(BIN)/python -m pytest -q --durations=10 -n 2 --dist loadfile --no-loadscope-reorder -m "not long"

test-long: .venv/installed-dev
	$(BIN)/python -m pytest -q --durations=10 -m long

bench: .venv/installed-dev
	$(BIN)/python -m benchmarks

docs: .venv/installed-dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

install: .venv/installed

PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
INSTALL = $(PIP) --editable

.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "error: '$(PYTHON)' is not Python 3.11 or newer; install Python 3.11, or type make PYTHON=/path/to/python3.11"; exit 2; }
	@echo "Installing into .venv; see the README for how long that takes and how much disk."
	@[ "$(TORCH)" = cpu ] || command -v nvidia-smi > /dev/null || \
	    echo "No NVIDIA GPU was found: 'make $(MAKECMDGOALS) TORCH=cpu' would install a smaller torch, without CUDA."
	$(PYTHON) -m venv .venv
ifeq ($(TORCH),cpu)
	$(PIP) --index-url https://download.pytorch.org/whl/cpu torch torchvision
endif
	$(INSTALL) .
	touch $@

.venv/installed-dev: .venv/installed
	$(INSTALL) '.[cluster,dev,docs]'
	touch $@
