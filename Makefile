# Needs Python (3.10 or newer), make and git. Everything else goes into $(VENV), made here.
#
#   make demo     thumbnails of 24 photos by `procession map`, with the time that one core would have taken
#   make test     the tests;         make test PYTEST_ARGS="tests/cli -x"
#   make large    the tests with objects of more than 4 GiB, which need 20 GB of memory
#   make bench    the benchmarks;    make bench BENCH_ARGS="--help"
#   make lint     ruff and mypy
#   make clean    removes what was made, virtual environments included
#
# Another interpreter: make test PYTHON=python3.12 VENV=.venv-3.12

PYTHON ?= $(shell command -v python3 || command -v python)
VENV ?= .venv
PYTEST_ARGS ?=
BENCH_ARGS ?=

BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: help demo test large bench lint clean
.DELETE_ON_ERROR:

help:
	@sed -n 's/^#   //p' Makefile

demo: $(VENV)/.installed-demo
	$(BIN)/python examples/demo.py

test: $(VENV)/.installed-test
	$(BIN)/python -m pytest $(PYTEST_ARGS)

large: $(VENV)/.installed-test
	$(BIN)/python -m pytest -m large $(PYTEST_ARGS)

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
