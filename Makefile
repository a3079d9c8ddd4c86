# Each target sets up what it needs in .venv; Python 3.11 or newer with venv, and make, are enough.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
# Tests mostly wait for real processes: more of them at once than there are cores.
TEST_PROCESSES ?= 5
# A file at a time, in the order of tests/conftest.py: what a file starts for all its tests is started once.
SHARED_OUT := --dist loadfile --no-loadscope-reorder
BIN := $(VENV)/bin
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-annotate --no-header --upgrade
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet

.DEFAULT_GOAL := help
.PHONY: help demo ui test coverage lint types docs bench lock clean

help:  ## what can be made
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

demo: $(VENV)/runtime  ## 500 charge points for 45 s in Locust's web UI, with a restart of the central system
	@exec $(BIN)/python -m ampswarm.demo

ui: $(VENV)/runtime  ## the same, until Ctrl-C
	@exec $(BIN)/python -m ampswarm.demo --open-ended

test: lint types  ## lint, types, and all tests
	$(BIN)/pytest --numprocesses $(TEST_PROCESSES) $(SHARED_OUT)

# Apart: it takes twice as long, for every process that a test starts is measured as well.
coverage: $(VENV)/dev  ## all tests, with the branch coverage of every process that they start
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest --numprocesses $(TEST_PROCESSES) $(SHARED_OUT)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

lint: $(VENV)/dev  ## ruff and import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(VENV)/dev  ## mypy --strict
	$(BIN)/mypy

docs: $(VENV)/dev  ## the documentation as web pages, in out/docs; its reference is written anew from the code
	$(BIN)/python docs/generate.py
	$(BIN)/sphinx-build -W --keep-going -n -q -b html docs out/docs
	@echo "out/docs/index.html"

bench: $(VENV)/dev  ## memory and CPU per charge point and per connection
	$(BIN)/python -m benchmarks.idle_fleet

lock: $(VENV)/dev  ## pin the newest allowed version of every dependency, with hashes
	$(PIP) uv
	$(LOCK) --group dev pyproject.toml --output-file requirements/dev.txt
	$(LOCK) pyproject.toml --constraints requirements/dev.txt --output-file requirements/runtime.txt
	$(LOCK) --group build --constraints requirements/dev.txt --output-file requirements/build.txt

clean:  ## remove what the targets made
	rm -rf $(VENV) .coverage* .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache out dist

$(VENV)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Ampswarm needs Python 3.11 or newer; '$(PYTHON)' is older: make PYTHON=python3.x" >&2; exit 2; }
	@echo "setting up $(VENV) (once, about a minute)"
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/runtime: $(VENV)/python requirements/runtime.txt requirements/build.txt pyproject.toml
	@$(PIP) --require-hashes -r requirements/runtime.txt -r requirements/build.txt
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/dev: $(VENV)/runtime requirements/dev.txt
	@$(PIP) --require-hashes -r requirements/dev.txt
	@touch $@
