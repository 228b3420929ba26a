# Two commands do everything on a machine that has Python and make: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
READY := $(VENV)/.ready-$(VERSION)
LIBRARIES := $(VENV)/.libraries-$(VERSION)
PLOTS := $(VENV)/.plots-$(VERSION)

.PHONY: help setup demo test check bench catalogue alarms lock clean

help:
	@echo 'make demo    build the demo serially and concurrently, compare, watch an edit'
	@echo 'make test    run all tests'
	@echo 'make check   lint, types, import contracts, tests'
	@echo 'make bench   measure, and say on what machine'
	@echo 'make catalogue [REPEAT=20]  count how often each cause of the catalogue is recognised'
	@echo 'make alarms [BUILDS=1000]   build sound programs, with real libraries too, and count false alarms'
	@echo 'make setup   only create $(VENV); make lock renews constraints.txt'

setup: $(READY)

# The constraints hold for what is installed and for what it is built with, so an install is repeatable.
$(READY): pyproject.toml constraints.txt
	@echo 'installing into $(VENV) (about a minute)'
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=26'  # older ones' wrappers import re
	@PIP_CONSTRAINT=constraints.txt $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[jax,dev]'
	@touch $@

demo: $(READY)
	@$(BIN)/pcvctl demo

test: $(READY)
	$(BIN)/python -m pytest

check: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(MAKE) test

$(PLOTS): $(READY)
	@PIP_CONSTRAINT=constraints.txt $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[plots]'
	@touch $@

# Measured as Python runs unless it is told otherwise: with its bytecode kept.
bench: export PYTHONDONTWRITEBYTECODE =
bench: $(PLOTS)
	$(BIN)/python tests/bench/figures.py
	$(BIN)/python tests/bench/engine.py
	$(BIN)/python tests/bench/kernels.py

catalogue: $(READY)
	REPEAT=$(REPEAT) $(BIN)/python tests/bench/catalogue.py

# The libraries whose models are built for it are nothing that pcv itself needs.
$(LIBRARIES): $(READY)
	@PIP_CONSTRAINT=constraints.txt $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[libraries]'
	@touch $@

alarms: $(LIBRARIES)
	BUILDS=$(BUILDS) $(BIN)/python tests/bench/alarms.py

lock: $(READY)
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --all-extras --upgrade --custom-compile-command 'make lock' pyproject.toml -o constraints.txt

clean:
	rm -rf $(VENV)
