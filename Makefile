# Two commands: `make demo` trains a real model to its target, `make test` proves the rest.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
# `-c` does not reach the environments in which pip builds packages from source. These variables do;
# pip reads the second one since version 25.3.
PINNED := PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt
PIP := $(PINNED) $(BIN)/python -m pip install --quiet --disable-pip-version-check
# A process per GPU where there are GPUs, else two on the CPU.
RUN := $(BIN)/ttt run launcher=torchrun
# Tests wait for processes more than they compute, so there is one more worker than cores. The tests of
# a file share fixtures, so a file stays on one worker. conftest.py runs the longest files first.
SPREAD := -n $(shell echo $$(($$(nproc) + 1))) --dist loadfile --no-loadscope-reorder

.PHONY: demo test lint tests clean

demo: .venv/demo
	$(RUN)
	@echo 'type first: source .venv/bin/activate'

test: lint tests

lint: .venv/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/hadolint Dockerfile

tests: .venv/test
	$(BIN)/python -m pytest $(SPREAD)

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/demo: .venv/bin/python pyproject.toml constraints.txt
	$(PIP) -e '.[dali,digits,text,report,energy,wandb]'
	touch $@

.venv/test: .venv/demo
	$(PIP) -e '.[dali,digits,mpi,text,report,energy,wandb,dev]'
	touch $@

clean:
	rm -rf .venv
