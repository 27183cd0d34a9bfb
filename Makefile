# make demo   the whole road on synthetic data (core install only)
# make test   the test suite
# make bench  benchmarks; make soak  long tests; make lint  ruff and mypy; make docs  generated pages and the site
# Whatever is needed is installed into .venv from the package registry, within the versions of constraints.txt.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.DEFAULT_GOAL := help
.PHONY: help setup setup-test setup-all demo browser test bench soak lint docs docs-check clean

help:
	@sed -n '1,5p' Makefile | sed 's/^# //'

$(VENV)/core: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "cxrdata needs Python 3.11 or newer; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)
	$(PIP) --upgrade pip
	$(PIP) -e .
	touch $@

$(VENV)/test: $(VENV)/core
	$(PIP) -e '.[test,lint]'
	touch $@

setup: $(VENV)/core

setup-test: $(VENV)/test

setup-all: $(VENV)/core
	$(PIP) -e '.[dicom,report,stats,train]'

demo: $(VENV)/core
	$(BIN)/cxrdata demo

# The report is tested in headless Chromium, from the system's packages where it is not there yet; without it those tests
# are skipped and say so.
browser:
	@command -v chromium >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
	  { timeout 300 apt-get install -y -qq chromium || { timeout 100 apt-get update -qq && \
	  timeout 300 apt-get install -y -qq chromium; }; } >/dev/null 2>&1; } || echo "no Chromium: browser tests are skipped"

test: $(VENV)/test browser
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n 2 --dist worksteal -m 'not soak'

soak: $(VENV)/test
	$(PIP) -e '.[ray]'
	$(BIN)/python -m pytest -m soak

bench: $(VENV)/test
	$(BIN)/python -m benchmarks.run

lint: $(VENV)/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/test
	$(BIN)/python -m docs.generate
	$(BIN)/python -m docs.site

docs-check: $(VENV)/test
	$(BIN)/python -m docs.generate --check

clean:
	rm -rf $(VENV) build dist site .cache *.egg-info
