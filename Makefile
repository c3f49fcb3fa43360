# `make demo` and `make test` set everything up on a machine with nothing but Python 3.10 to 3.13 and pip.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
STAMP = $(VENV)/.installed

.PHONY: demo test test-slow lint stubs clean

demo: $(STAMP)
	$(BIN)/python -m grader.demo
	$(BIN)/trtprep run --submission solutions

test: $(STAMP)
	$(BIN)/python -m pytest -n auto -m "not slow and not frameworks and not gpu"

test-slow: $(STAMP)
	$(BIN)/python -m pytest -n auto -m "slow and not gpu"

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

stubs: $(STAMP)
	$(BIN)/python -m grader.stubs

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable . --group dev
	touch $@

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache
