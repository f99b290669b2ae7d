# The commands of this project. `make lab` and `make test` work on a bare machine: they set up $(VENV) first, and only
# once. What is wanted is part of the stamp's name, so a second call does nothing, offline too.

VENV     ?= .venv
PYTHON   ?= python3
EXTRAS   ?= notebook,dev
JOBS     ?= 2
PROMPT   ?= a red hot-air balloon over the sea
NOTEBOOKS := $(sort $(wildcard notebooks/*.ipynb))

WANTED    := $(shell (echo '$(EXTRAS)'; sed -n '/^\[build-system\]/,/^\[tool\./p' pyproject.toml) | cksum | cut -d' ' -f1)
INSTALLED := $(VENV)/.installed-$(WANTED)
BIN       := $(VENV)/bin
AXE       := tests/studio/node_modules/axe-core/axe.min.js

.DEFAULT_GOAL := help
.PHONY: help setup system first demo lab test test-training test-benches lint types notebooks check-notebooks clean

help: ## what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

setup: system $(INSTALLED) ## the environment, in $(VENV)

# Fonts, a browser: useful, not required; says so where it may not install them.
system:
	@PYTHON='$(PYTHON)' sh scripts/system_packages.sh

$(INSTALLED): | system
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo 'zimage_kit needs Python 3.11 or newer; $(PYTHON) is '"$$($(PYTHON) --version 2>&1)"'. Try: make PYTHON=python3.12 …' >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo 'Installing zimage_kit and what it needs into $(VENV) (about 6.4 GB with torch; once)'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[$(EXTRAS)]'
	@rm -f $(VENV)/.installed-*
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

test: setup $(AXE) ## the tests that need no GPU, but for nano's training and the measuring scripts
	@OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

test-training: setup ## nano's training and quality, when nano has changed (about three minutes)
	@OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(BIN)/python -m pytest -m training -n $(JOBS) --dist loadfile tests/nano
	@$(BIN)/python scripts/nano_stamp.py --write

test-benches: setup ## that the measuring scripts work, each run small (about three minutes)
	@OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(BIN)/python -m pytest -m bench

lint: setup ## ruff: rules and layout
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: setup ## mypy, strict
	@$(BIN)/mypy

check-notebooks: setup ## run every notebook top to bottom, in a kernel of its own
	@export ZIMAGE_OUTPUTS=$$(mktemp -d) ZIMAGE_STATE=$$(mktemp -d); trap '$(BIN)/zimage session stop' EXIT; \
	  $(BIN)/python -m pytest -n $(JOBS) --nbmake --nbmake-timeout=300 $(NOTEBOOKS)

notebooks: setup ## run every notebook and keep its pictures in it
	@$(BIN)/python scripts/store_notebook_outputs.py $(NOTEBOOKS)

clean: ## remove the environment and what the demonstration wrote
	rm -rf $(VENV) demo
