# Everything a target needs, it installs: a virtual environment in the tree, no root.
# Only `make hwtest` wants root (it installs Debian packages).

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
export PATH := $(abspath $(BIN)):$(PATH)

.PHONY: demo test lint bench hwtest asan clean format

demo: $(READY)
	$(BIN)/vfiodpa demo

test: $(READY)
	$(BIN)/meson test -C build --print-errorlogs
	$(BIN)/python -m pytest tests

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run --Werror csrc/*.[ch] csrc/tests/*.[ch]

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix-only .
	$(BIN)/clang-format -i csrc/*.[ch] csrc/tests/*.[ch]

# Editable: C and Python changes take effect on the next import, no reinstall.
$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV) || { echo "no venv module: apt-get install python3-venv python3-dev" >&2; exit 1; }
	$(BIN)/pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/pip install --quiet --group build --group dev
	$(BIN)/pip install --quiet --no-build-isolation --editable . -Cbuild-dir=build
	touch $@

clean:
	rm -rf build build-* dist .venv .venv-*
