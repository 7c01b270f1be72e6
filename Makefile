# Samae: two commands do all on a fresh machine, `make demo` and `make test`. `make help` lists the rest.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Nothing phones home; the allocator setting alone gives 1.2-2.1 times the speed of CPU training (page faults).
export DAGSTER_DISABLE_TELEMETRY = 1
export MLFLOW_DISABLE_TELEMETRY = true
export RAY_USAGE_STATS_ENABLED = 0
export DO_NOT_TRACK = 1

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow lint dev pictures clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/' | expand -t 14

setup: $(STAMP)  ## make .venv with the pinned versions

$(STAMP): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "samae needs Python 3.11: '$(PYTHON)' was not found; name one with 'make PYTHON=/path/to/python3.11'"; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -c constraints.txt -e '.[dev]'
	@touch $(STAMP)

demo: $(STAMP)  ## the main job on generated people: faces in, a trained, judged and registered swapper out
	$(BIN)/samae demo

test: $(STAMP)  ## lint, types, unit tests, definitions, the whole graph once (under 12 minutes on 2 cores)
	$(BIN)/ruff check --no-cache .
	$(BIN)/mypy
	$(BIN)/dagster definitions validate -w workspace.yaml
	VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/dg check defs
	$(BIN)/python -m pytest -m "not slow" --durations=8

test-slow: $(STAMP)  ## kills, browsers, two hosts (under 30 minutes)
	$(BIN)/python -m pytest -m slow --durations=12

lint: $(STAMP)  ## ruff and mypy alone
	$(BIN)/ruff check --no-cache .
	$(BIN)/mypy

dev: $(STAMP)  ## the Dagster and MLflow pages on localhost
	$(BIN)/samae dev

pictures: $(STAMP)  ## the pictures of people, heads, fits and landmarks in docs/
	$(BIN)/samae pictures

clean:  ## remove what was made here (.samae), keep .venv
	rm -rf .samae
