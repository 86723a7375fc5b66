# Everything a target needs, it installs: a virtual environment in the tree, no root.
# Only `make hwtest` and `make bench` use root, when they have it: Debian packages, huge pages.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
C_FILES := csrc/*.[ch] csrc/tests/*.[ch] csrc/bench/*.c csrc/fuzz/*.[ch] hwtests/peers/guest/*.c
BACKEND ?= vfiodpa
export PYTHON
export PATH := $(abspath $(BIN)):$(PATH)

.PHONY: demo test lint format bench bench-all hwtest rigtest rig-kernel asan fuzz wheel clean

demo: $(READY)
	$(BIN)/vfiodpa demo

test: $(READY)
	$(BIN)/meson test -C build --print-errorlogs
	$(BIN)/python -m pytest tests -n auto --maxprocesses 4 --dist worksteal

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run --Werror $(C_FILES)

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix-only .
	$(BIN)/clang-format -i $(C_FILES)

# Real guests, the tests for any NIC on the software NIC, its ports, and VFIO in virtual machines.
# BACKEND=dpdk runs the guests against DPDK's vhost library: is it us, or the test?
hwtest: $(READY)
	hwtests/packages
	$(BIN)/python -m pytest hwtests/peers hwtests/device hwtests/ports hwtests/rig \
		-k 'not test_in_machine or split or packed' \
		-o faulthandler_timeout=2400 --backend $(BACKEND)

# Every virtual machine: IOMMU widths and kinds, packed rings, several pairs, trouble, Debian's kernel.
rigtest: $(READY)
	hwtests/packages
	$(BIN)/python -m pytest hwtests/rig -o faulthandler_timeout=2400

# A kernel with iommufd for the virtual machines, about 15 minutes; without it they run Debian's.
rig-kernel:
	hwtests/rig/build_kernel

ROUNDS ?= 5
bench: $(READY)
	hwtests/packages
	$(BIN)/python -m benchmarks.vhost_echo --rounds $(ROUNDS)

# The others after it; those that want what is not here say so.
bench-all: bench
	for one in instructions floor wakeup scale tap; do $(BIN)/python -m benchmarks.$$one || [ $$? = 77 ] || exit 1; done

asan: .venv-asan/.ready
	tools/asan

# Each harness of csrc/fuzz for so long; what it finds stays in build/fuzz/found. Wants clang.
SECONDS ?= 60
fuzz:
	tools/fuzz $(SECONDS)

# What a user gets: the wheel, in an environment that never saw this tree.
wheel: $(READY)
	rm -rf dist .venv-wheel
	$(BIN)/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .
	$(PYTHON) -m venv .venv-wheel
	.venv-wheel/bin/pip install --quiet dist/*.whl
	cd dist && ../.venv-wheel/bin/vfiodpa --version

# Editable: C and Python changes take effect on the next import, no reinstall.
$(READY): pyproject.toml tools/venv
	tools/venv $(VENV)
	$(BIN)/pip install --quiet --no-build-isolation --editable . -Cbuild-dir=build
	touch $@

.venv-asan/.ready: pyproject.toml tools/venv
	tools/venv .venv-asan
	touch $@

clean:
	rm -rf build build-* dist .venv .venv-*
