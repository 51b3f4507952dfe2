# Needs Python (3.10 or newer), make and git. Everything else goes into $(VENV), made here.
#
#   make demo     thumbnails of 24 photos by `procession map`, with the time that one core would have taken
#   make test     the tests;         make test PYTEST_ARGS="tests/cli -x"
#   make chaos    50,000 tasks while workers are killed at random;  make chaos CHAOS_ARGS="--seed 7 --compare"
#   make crashes  a journaled run whose parent is killed 50 times at random moments
#   make table    every way in which a worker dies, times where, times through which call: 370 cells, some minutes
#   make conformance  CPython's own tests, on Procession and on the standard library, with every Python: an hour or so;
#                 make conformance CONFORMANCE_ARGS="--python 3.13 --method fork --suite futures"
#   make large    the tests with objects of more than 4 GiB, which need 20 GB of memory
#   make clients  the tests of joblib and scikit-learn on our joblib backend and on joblib's own: 20 minutes
#   make bench    the benchmarks;    make bench BENCH_ARGS="--help"
#   make lint     ruff and mypy
#   make clean    removes what was made, virtual environments included
#
# Another interpreter: make test PYTHON=python3.12 VENV=.venv-3.12

PYTHON ?= $(shell command -v python3 || command -v python)
VENV ?= .venv
PYTEST_ARGS ?=
BENCH_ARGS ?=
CHAOS_ARGS ?=
CONFORMANCE_ARGS ?=
CLIENTS_ARGS ?=

BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: help demo test chaos crashes table conformance large clients bench lint clean
.DELETE_ON_ERROR:

help:
	@sed -n 's/^#   //p' Makefile

demo: $(VENV)/.installed-demo
	$(BIN)/python examples/demo.py

test: $(VENV)/.installed-test
	$(BIN)/python -m pytest $(PYTEST_ARGS)

chaos: $(VENV)/.installed-test
	$(BIN)/python -m tests.chaos.run $(CHAOS_ARGS)

crashes: $(VENV)/.installed-test
	$(BIN)/python -m tests.chaos.crashes

table: $(VENV)/.installed-test
	$(BIN)/python -m pytest -m table tests/faults/test_table.py $(PYTEST_ARGS)

conformance: $(VENV)/.installed-test
	$(BIN)/python -m tests.cpython.run $(CONFORMANCE_ARGS)

large: $(VENV)/.installed-test
	$(BIN)/python -m pytest -m large $(PYTEST_ARGS)

clients: $(VENV)/.installed-test $(VENV)/.installed-clients
	$(BIN)/python -m pytest tests/integration/test_clients.py tests/integration/test_joblib.py
	$(BIN)/python -m tests.clients_suites.run $(CLIENTS_ARGS)

bench: $(VENV)/.installed-bench
	$(BIN)/python -m bench $(BENCH_ARGS)

lint: $(VENV)/.installed-test
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy --strict

clean:
	rm -rf .venv .venv-* build dist site .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps: a virtual environment is made once, and an extra installed again only when pyproject.toml has changed.
# --clear: what an interrupted or failed creation left behind must not pass for an environment.
$(VENV)/.made:
	@test -n "$(PYTHON)" || { echo "make: no python3 on PATH; say which: make PYTHON=/path/to/python" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Procession needs Python 3.10 or newer")'
	"$(PYTHON)" -m venv --clear $(VENV)
	@touch $@

$(VENV)/.installed-%: pyproject.toml $(VENV)/.made
	$(INSTALL) --editable '.[$*]'
	@touch $@
