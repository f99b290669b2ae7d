# The commands of this project. `make lab` and `make test` work on a bare machine: they set up $(VENV) first, and only
# once. What is wanted is part of the stamp's name, so a second call does nothing, offline too. `make lab` installs what
# JupyterLab needs; what only tests need (a browser, a program that reads pictures, pytest) comes with `make test`.

VENV     ?= .venv
PYTHON   ?= python3
EXTRAS   ?= engine,notebook
JOBS     ?= 2
PROMPT   ?= a red hot-air balloon over the sea
NOTEBOOKS := $(sort $(wildcard notebooks/*.ipynb)) $(sort $(wildcard notebooks/zh/*.ipynb))

WANTED    := $(shell (echo '$(EXTRAS)'; sed -n '/^\[build-system\]/,/^\[tool\./p' pyproject.toml) | cksum | cut -d' ' -f1)
FOR_LAB   := $(VENV)/.installed-$(WANTED)
FOR_TESTS := $(VENV)/.installed-tests-$(WANTED)
BIN       := $(VENV)/bin
# uv, where it is at hand, installs the same packages in a third of the time; `make … UV=` does without it.
UV        := $(shell command -v uv 2>/dev/null)
PIP       := $(if $(UV),$(UV) pip install --python $(BIN)/python,$(BIN)/python -m pip --disable-pip-version-check install)
AXE       := tests/studio/node_modules/axe-core/axe.min.js

.DEFAULT_GOAL := help
.PHONY: help setup setup-tests fonts test-packages first demo lab test test-training test-benches lint types check-notebooks check soak fuzz notebooks clean

help: ## what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

setup: fonts $(FOR_LAB) ## the environment, in $(VENV)

setup-tests: test-packages $(FOR_TESTS) ## the same with what the tests need

# Useful, not required; it says so where it may not install them.
fonts:
	@PYTHON='$(PYTHON)' sh scripts/system_packages.sh fonts

test-packages:
	@PYTHON='$(PYTHON)' sh scripts/system_packages.sh fonts browser ocr

$(VENV)/bin/python: | fonts
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo 'zimage_kit needs Python 3.11 or newer; $(PYTHON) is '"$$($(PYTHON) --version 2>&1)"'. Try: make PYTHON=python3.12 …' >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)

# a venv that is there already is not made again because its folder has changed
$(FOR_LAB): | fonts $(VENV)/bin/python
	@echo 'Installing zimage_kit and what it needs into $(VENV) (about 6.4 GB with torch; once)'
	@$(PIP) -e '.[$(EXTRAS)]'
	@find $(VENV) -maxdepth 1 -name '.installed-*' ! -name '*-$(WANTED)' -delete
	@touch $@

# The original Real-ESRGAN package builds on the machine, with torch. In pip's usual isolation that would be a second
# download of torch, so it is built with the one that is there.
$(FOR_TESTS): $(FOR_LAB) | test-packages
	@echo 'Installing what the tests need into $(VENV) (1 of 2)'
	@$(PIP) -e '.[$(EXTRAS),dev]'
	@echo 'Building the original Real-ESRGAN package, which one engine of upscale uses (2 of 2)'
	@$(PIP) --no-build-isolation -e '.[realesrgan]'
	@touch $@

first: setup
	@$(BIN)/zimage run '$(PROMPT)' --seed 7

demo: first ## a first picture, and a comparison sheet in English and Chinese in demo/
	@$(BIN)/python scripts/demo_sheet.py demo

lab: first ## a first picture, then JupyterLab on the notebooks
	@$(BIN)/zimage lab

# What the browser tests look for barriers with; without npm or the network they skip that.
$(AXE): tests/studio/package.json
	@if command -v npm >/dev/null 2>&1; then \
	  (cd tests/studio && npm install --ignore-scripts --no-audit --no-fund --silent && touch ../../$@) || \
	  echo 'Could not install axe-core; the tests that need it are skipped.' >&2; \
	fi

test: setup-tests $(AXE) ## the tests that need no GPU, but for nano's training and the measuring scripts
	@OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

test-training: setup-tests ## nano's training and quality, when nano has changed (about three minutes)
	@OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(BIN)/python -m pytest -m training -n $(JOBS) --dist loadfile tests/nano
	@$(BIN)/python scripts/nano_stamp.py --write

test-benches: setup-tests ## that the measuring scripts work, each run small (about three minutes)
	@OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(BIN)/python -m pytest -m bench

lint: setup-tests ## ruff: rules and layout; vulture: nothing that nothing uses
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/vulture

types: setup-tests ## mypy, strict
	@$(BIN)/mypy

check-notebooks: setup-tests ## run the course, each notebook in a kernel of its own (ZIMAGE_TEST_ZH=1: the Chinese too)
	@OMP_NUM_THREADS=$${OMP_NUM_THREADS:-2} $(BIN)/python -m pytest -m notebooks tests/notebook

check: test lint types check-notebooks ## what has to pass before a change lands: the same as .ci/run

soak: setup-tests ## a thousand jobs while programs, worker and session are killed; 300 runs of cells (about 20 minutes)
	@OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(BIN)/python -m tests.soak.load --output soak.json
	@OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(BIN)/python -m tests.soak.notebook --output soak-notebook.json

fuzz: setup-tests ## what reads files and texts of others, guided by coverage (an hour; needs atheris in $(VENV))
	@$(BIN)/python -m tests.fuzz.run --minutes 3.4

notebooks: setup-tests ## run every notebook and keep its pictures in it
	@$(BIN)/python scripts/store_notebook_outputs.py $(NOTEBOOKS)

clean: ## remove the environment and what the demonstration wrote
	rm -rf $(VENV) demo
