# PRISM Studio. `make app` serves the app; `make test` runs the tests. Both set up what they need.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
# How many processes share the tests, a file at a time each; 0 runs them all in one.
WORKERS ?= 2

.PHONY: app test test-slow check bench install chromium screenshot clean

app: $(VENV)/.runtime
	$(BIN)/python app.py $(ARGS)

test: $(VENV)/.development chromium
	$(BIN)/python -m pytest -m "not slow and not gpu" -n $(WORKERS) --dist loadfile \
	  --no-loadscope-reorder $(ARGS)

test-slow: $(VENV)/.development chromium
	$(BIN)/python -m pytest -m "not gpu" $(ARGS)

check: $(VENV)/.development
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.development
	for script in benchmarks/*.py; do echo "== $$script"; PYTHONPATH=. $(BIN)/python $$script || exit 1; done

install: $(VENV)/.runtime

screenshot: $(VENV)/.development chromium
	PYTHONPATH=.:tests $(BIN)/python tests/browser/take_screenshot.py

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: requirements.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

$(VENV)/.development: requirements-dev.txt requirements.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@ $(VENV)/.runtime

# The browser tests drive a real Chromium: the one that PRISM_CHROMIUM names, or Debian's. Its
# headless shell opens a page in half the time that the whole browser takes.
chromium:
	@command -v "$${PRISM_CHROMIUM:-chromium-headless-shell}" >/dev/null || \
	  command -v chromium >/dev/null || command -v apt-get >/dev/null || \
	  { echo "Please install Chromium, or set PRISM_CHROMIUM to its path."; exit 1; }
	@command -v "$${PRISM_CHROMIUM:-chromium-headless-shell}" >/dev/null || \
	  command -v chromium >/dev/null || \
	  { SUDO=$$([ "$$(id -u)" = 0 ] || echo sudo); \
	    $$SUDO apt-get update -qq && \
	    $$SUDO apt-get install -y -qq --no-install-recommends chromium-headless-shell; }

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache
