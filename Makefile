# make demo     a real cluster in a box, and celerytop looking at it (needs python >= 3.11 and pip, nothing else)
# make check    what CI runs: format, lint, types, layers, sizes, tests
PYTHON ?= python3
BIN := .venv/bin
SCENARIO ?= mix
TEST_JOBS ?= 2

.DEFAULT_GOAL := help
.PHONY: help demo dev servers lint test check bench figures screenshots clean

help:
	@echo "make demo | dev | lint | test | check | bench | bench-NAME | figures | screenshots | clean"

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "celerytop needs Python 3.11 or newer")'
	$(PYTHON) -m venv .venv

.venv/.demo: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[demo]'
	@touch $@

.venv/.dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@ .venv/.demo

demo: .venv/.demo
	$(BIN)/celerytop demo --scenario $(SCENARIO)

dev: .venv/.dev

# The real servers the tests talk to. Only root on Debian or Ubuntu can install them; elsewhere tests skip.
servers:
	@tools/install_servers

lint: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tools/check_sizes.py

test: .venv/.dev servers
	$(BIN)/python -m pytest -n $(TEST_JOBS) --dist loadfile

check: lint test

# Each starts its own servers, prints a table and runs alone. `make bench` shortens the longest three, which else take
# most of half an hour; `make bench-NAME` is whole, and all of these make the README's table: `make figures`.
BENCHMARKS := ingest paced memory picture screen start asking stop cost

bench: .venv/.bench servers
	$(BIN)/python -m benchmarks.ingest --rounds 1 --tasks 20000
	$(BIN)/python -m benchmarks.paced --seconds 15
	$(BIN)/python -m benchmarks.cost --sizes 5x20 --turns 1
	for name in $(filter-out ingest paced cost,$(BENCHMARKS)); do $(BIN)/python -m benchmarks.$$name || exit 1; done

bench-%: .venv/.bench servers
	$(BIN)/python -m benchmarks.$*

figures: $(BENCHMARKS:%=bench-%)
	$(BIN)/python -m benchmarks.table

.venv/.bench: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev,bench]'
	@touch $@ .venv/.dev .venv/.demo

# The README's pictures, from the real program on the demo's real cluster: three minutes.
screenshots: .venv/.dev
	$(BIN)/python screenshots/make.py

clean:
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
