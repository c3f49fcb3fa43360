# `make demo` and `make test` set everything up on a machine with nothing but Python 3.10 to 3.13 and pip.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
STAMP = $(VENV)/.installed
FRAMEWORKS ?= .venv-frameworks
NOTEBOOKS ?= .venv-notebooks

.PHONY: demo test test-slow test-frameworks notebooks render test-notebooks test-browser test-ray lint stubs clean

demo: $(STAMP)
	$(BIN)/python -m grader.demo
	$(BIN)/trtprep run --submission solutions

test: $(STAMP)
	$(BIN)/python -m pytest -n auto -m "not slow and not frameworks and not notebooks and not browser and not ray and not gpu"

test-slow: $(STAMP)
	$(BIN)/python -m pytest -n auto -m "slow and not gpu"

# In an environment of its own: two gigabytes that nothing else needs. A CPU build of PyTorch comes first, where the
# package index has one; what asks for torch afterwards is content with it. `speech` is c2's: torchaudio, soundfile.
test-frameworks: $(FRAMEWORKS)/.installed
	$(FRAMEWORKS)/bin/python -m pytest -n auto -m "frameworks and not gpu"

$(FRAMEWORKS)/.installed: pyproject.toml
	$(PYTHON) -m venv $(FRAMEWORKS)
	$(FRAMEWORKS)/bin/python -m pip install --quiet --upgrade pip
	$(FRAMEWORKS)/bin/python -m pip install --quiet torch==2.13.0
	$(FRAMEWORKS)/bin/python -m pip install --quiet --editable '.[frameworks,speech]' --group dev --group oracles
	touch $@

# The course of notebooks has nbgrader and JupyterLab in an environment of its own.
notebooks: $(NOTEBOOKS)/.installed
	$(NOTEBOOKS)/bin/python -m grader.notebooks build

render: $(NOTEBOOKS)/.installed
	$(NOTEBOOKS)/bin/python -m grader.notebooks render --out notebooks/rendered

test-notebooks: $(NOTEBOOKS)/.installed
	$(NOTEBOOKS)/bin/python -m pytest -n auto -m "notebooks and not gpu"

$(NOTEBOOKS)/.installed: pyproject.toml
	$(PYTHON) -m venv $(NOTEBOOKS)
	$(NOTEBOOKS)/bin/python -m pip install --quiet --upgrade pip
	$(NOTEBOOKS)/bin/python -m pip install --quiet --editable '.[notebooks]' --group dev
	touch $@

# Looks at a class's pages in the Chromium that the system has (or $CHROMIUM).
test-browser: $(STAMP)
	$(BIN)/python -m pip install --quiet --group browser
	$(BIN)/python -m pytest -m browser

# A Ray cluster of two nodes on this machine.
test-ray: $(STAMP)
	$(BIN)/python -m pip install --quiet --editable '.[ray]'
	$(BIN)/python -m pytest -m ray

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
	rm -rf $(VENV) $(FRAMEWORKS) $(NOTEBOOKS) .pytest_cache .mypy_cache .ruff_cache
