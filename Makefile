# make demo | make test | make check | make test-all | make docs | make bench | make bench-quick
# TORCH_INDEX=URL takes torch from another index, for example https://download.pytorch.org/whl/cpu
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip --disable-pip-version-check
INSTALL = $(PIP) install --quiet -c constraints.txt

.PHONY: demo test check test-all docs bench bench-quick clean
.DEFAULT_GOAL = demo

demo: $(VENV)/user
	$(BIN)/skunlearn demo

test: $(VENV)/developer
	$(BIN)/python -m pytest -n 2

check: $(VENV)/developer
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest tests/test_budgets.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

docs: $(VENV)/developer
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo 'build/site/index.html; with its search: $(BIN)/python -m http.server -d build/site'

test-all: $(VENV)/developer
	$(BIN)/python -m pytest -s -m slow tests

bench: $(VENV)/user
	$(BIN)/python benchmarks/bench.py

bench-quick: $(VENV)/user
	$(BIN)/python benchmarks/bench.py --quick

$(VENV)/base:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "skunlearn needs Python 3.11 or newer: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet -c constraints.txt $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch
	@touch $@

$(VENV)/user: $(VENV)/base pyproject.toml constraints.txt
	$(INSTALL) -e .
	@touch $@

$(VENV)/developer: $(VENV)/base pyproject.toml constraints.txt
	$(INSTALL) -e .[dev,docs]
	@touch $@ $(VENV)/user

clean:
	rm -rf $(VENV) build dist src/*.egg-info
