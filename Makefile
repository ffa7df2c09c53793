# make demo     four distilled, quantized, verified students from one teacher
# make demo-mcu spoken digits from samples to label, on an emulated Cortex-M4
# make test     everything: lint, types, import rule, all tests
# make check    the same without the slow tests
#
# Variables
#   PYTHON         the Python 3.11 that makes .venv                          (python3.11)
#   TORCH          any: whatever torch the index has; cpu: refuse one that brings CUDA, 3 GB  (any)
#   TORCH_INDEX    address of a package index that has torch's CPU builds, where pip's own configuration names none:
#                  PyTorch's installation page shows it for "Linux, pip, CPU" after --index-url
#   PIP_…          pip's own variables (PIP_INDEX_URL, PIP_EXTRA_INDEX_URL, PIP_FIND_LINKS) hold as they are
#   JOBS           tests that run at a time                                  (2)
#   DEMO_MCU       options of tools/demo_mcu.py for demo-mcu: --model, --target, --kernels, --clips

PYTHON ?= python3.11
TORCH ?= any
TORCH_INDEX ?=
JOBS ?= 2
DEMO_MCU ?=

BIN := .venv/bin
STAMP := .venv/.installed
TARGETS := nucleo-l4r5zi pixel-8 orin-nano intel-n100
# One thread a worker: two workers with two threads each on two cores take many times as long.
PYTEST := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest
TOGETHER := -n $(JOBS) --dist loadfile

.PHONY: help demo demo-mcu test check lint types imports sizes fast slow format lock bootstrap clean distclean
.DEFAULT_GOAL := help

help:
	@sed -n '/^$$/q; s/^# \{0,1\}//p' Makefile

demo: $(STAMP)
	@bash tools/bootstrap.sh data
	$(BIN)/edgekd build models/fashion_mnist --resume $(addprefix --target ,$(TARGETS))

demo-mcu: $(STAMP)
	@bash tools/bootstrap.sh firmware
	PYTHONPATH=. OMP_NUM_THREADS=1 $(BIN)/python tools/demo_mcu.py $(DEMO_MCU)

test: check slow

check: lint types imports sizes fast

lint: $(STAMP)
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(STAMP)
	$(BIN)/basedpyright --level error

imports: $(STAMP)
	$(BIN)/lint-imports

sizes: $(STAMP)
	$(BIN)/python tools/sizes.py

fast: $(STAMP) bootstrap
	$(PYTEST) $(TOGETHER) -m "not slow and not alone"
	$(PYTEST) -m "not slow and alone"

slow: $(STAMP) bootstrap
	$(PYTEST) $(TOGETHER) -m "slow and not alone" --durations 5
	$(PYTEST) -m "slow and alone"

format: $(STAMP)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# .venv, made once for each change of the lock.
$(STAMP): requirements.lock pyproject.toml tools/install.sh
	@TORCH="$(TORCH)" TORCH_INDEX="$(TORCH_INDEX)" bash tools/install.sh "$(PYTHON)" .venv
	@touch $@

# Debian's compilers, QEMU and copy of the demo's dataset; never fails, for tests that lack one are skipped and say so.
bootstrap:
	@bash tools/bootstrap.sh tests

# requirements.in → requirements.lock, in an environment of its own.
lock:
	@TORCH_INDEX="$(TORCH_INDEX)" bash tools/lock.sh "$(PYTHON)"

clean:
	rm -rf build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find edgekd tests tools -name __pycache__ -type d -prune -exec rm -rf {} +

# Also .venv. Students under runs/ stay, and so do trainings and the teacher's outputs in ~/.cache/edgekd.
distclean: clean
	rm -rf .venv
