PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help install demo test check format wheel-test clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

install: $(STAMP)  ## make .venv and install everything into it

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade --constraint constraints.txt --editable ".[train,dev]"
	@touch $(STAMP)

demo: $(STAMP)  ## restore distorted photos with every policy; writes demo.png
	$(BIN)/restore-env demo

test: $(STAMP)  ## run all tests, the slow ones too, on all cores
	$(BIN)/python -m pytest --numprocesses auto

check: $(STAMP)  ## lint, formatting, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP)  ## format and sort imports
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

wheel-test: $(STAMP)  ## build the wheel and use it in an environment of its own
	PYTHON=$(BIN)/python sh .ci/wheel-test

clean:  ## remove what the targets made
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache demo.png
