# The whole project from a fresh clone, with nothing but make and Python >= 3.11:
#   make demo   the loop on sample data: score, infer, correct, retrain, re-rank
#   make test   the test suite
#   make lint   style, types and layers
#   make bench  seconds per image, beside the usual ways to get uncertainty
#   make pins   renew constraints.txt after a change of setup.cfg
# PYTHON=/path/to/python chooses the interpreter, PYTEST_ARGS="-k name" the tests.

SHELL := /bin/bash
BIN := .venv/bin
RUN_EXTRAS := server
TEST_EXTRAS := server,napari,dev
RUN_STAMP := .venv/.installed-$(RUN_EXTRAS)
TEST_STAMP := .venv/.installed-$(TEST_EXTRAS)
# Tests with windows need a screen: the one there is, or one in memory. Without either they are skipped.
SCREEN := $(if $(DISPLAY)$(WAYLAND_DISPLAY),,$(if $(shell command -v xvfb-run),xvfb-run -a -s "-screen 0 1600x1000x24"))
export PYTHON

.PHONY: demo test lint bench pins
.DELETE_ON_ERROR:

demo: $(RUN_STAMP)
	$(BIN)/lfusion demo

test: $(TEST_STAMP)
	$(SCREEN) $(BIN)/python -m pytest $(PYTEST_ARGS)

lint: $(TEST_STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(RUN_STAMP)
	$(BIN)/python benchmarks/inference.py

# 3.11.2 is Debian 12's Python, the oldest that the pins must fit.
pins: $(TEST_STAMP)
	$(BIN)/uv pip compile setup.cfg --all-extras --universal --python-version 3.11.2 \
		--override overrides.txt --quiet --no-header --no-annotate -o constraints.txt

# A stamp per set of extras: a second run installs nothing unless these files changed.
.venv/.installed-%: setup.cfg pyproject.toml constraints.txt overrides.txt tools/bootstrap.sh
	tools/bootstrap.sh '$*'
	@touch '$@'
