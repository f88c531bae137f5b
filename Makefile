PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
EXAMPLES := .venv-tools .venv-rl .venv-rllib
OWN := $(EXAMPLES) .venv-serve

.PHONY: help install demo test test-all examples browser-test screenshots mutants check docs format wheel-test clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

install: $(STAMP)  ## make .venv and install everything into it

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade --constraint constraints.txt --editable ".[train,dev,docs,hub,heif]"
	@touch $(STAMP)

demo: $(STAMP)  ## restore distorted photos with every policy; writes demo.png
	$(BIN)/restore-env demo

test: $(STAMP)  ## run the fast tests on all cores, in under five minutes
	$(BIN)/python -m pytest -m "not slow" --numprocesses auto

test-all: $(STAMP)  ## run all tests, the slow ones too, and check their coverage
	$(BIN)/python -m pytest --numprocesses auto --cov --cov-report=term:skip-covered

$(OWN:%=%/.installed): .venv-%/.installed: pyproject.toml examples/requirements-%.txt
	$(PYTHON) -m venv .venv-$*
	.venv-$*/bin/python -m pip install --quiet --upgrade --editable . --requirement examples/requirements-$*.txt
	@touch $@

examples: $(EXAMPLES:%=%/.installed)  ## run the examples whose libraries are not in .venv, in environments of their own
	.venv-tools/bin/python -m pytest tests/examples/test_tool_recipes.py tests/toolbox/test_spandrel.py
	.venv-rl/bin/python -m pytest tests/examples/test_libraries.py
	.venv-rllib/bin/python -m pytest tests/examples/test_rllib.py tests/examples/test_restore_on_ray.py

browser-test: .venv-serve/.installed  ## try the page of `restore-env serve` in Debian's chromium, in an environment of its own
	.venv-serve/bin/python -m pytest tests/test_serve.py tests/test_workbench.py

screenshots: .venv-serve/.installed  ## draw the pictures of the page again that the documentation shows
	.venv-serve/bin/python docs/screenshots.py

mutants: $(STAMP)  ## break the code in 300 places and list what the tests miss; takes an hour
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[mutants]"
	$(BIN)/python -m benchmarks.mutants --output benchmarks/results/mutants.json

check: $(STAMP)  ## check lint, formatting, types, imports, spelling and the CI workflow
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/ci.yml

docs: $(STAMP)  ## build the documentation in docs/_build/html; any warning fails
	$(BIN)/python -m sphinx -W -n -b html docs docs/_build/html

format: $(STAMP)  ## format and sort imports
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

wheel-test: $(STAMP)  ## build sdist and wheel, use the wheel in an environment of its own, check both
	PYTHON=$(BIN)/python sh .ci/wheel-test

clean:  ## remove what the targets made
	rm -rf $(VENV) $(OWN) build dist docs/_build *.egg-info .coverage .import_linter_cache .mypy_cache .pytest_cache .ruff_cache mutants demo.png
