# The only door: people, CI and pre-commit call these targets.
PYTHON ?= python3
BIN := .venv/bin
# A GPU machine names the index of its CUDA build of the same torch version here.
TORCH_INDEX := $(if $(LMLAB_TORCH_INDEX),--index-url $(LMLAB_TORCH_INDEX),)

.PHONY: install check test services test-services test-all demo bench golden docs

install: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet $(TORCH_INDEX) "$$(grep '^torch==' constraints.txt)"
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@

check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/basedpyright
	$(BIN)/lint-imports
	$(BIN)/python -m lmlab.evidence.documents --check

test: install
	$(BIN)/pytest -m "not slow and not parity and not slurm and not s3 and not browser and not gpu and not net"

# Debian's packages, as root: what the tests of real services start and stop themselves.
services:
	command -v chromium >/dev/null || (apt-get update -q && \
		apt-get install -y -q --no-install-recommends chromium fonts-dejavu-core)

test-services: install
	$(BIN)/pytest -m browser

test-all: install .venv-parity/installed
	$(BIN)/pytest -m "not slurm and not s3 and not browser and not net and not parity"
	.venv-parity/bin/pytest -m parity

# Other implementations live apart: what they install must not decide what is tested.
.venv-parity/installed: pyproject.toml constraints.txt
	test -x .venv-parity/bin/python || $(PYTHON) -m venv .venv-parity
	.venv-parity/bin/python -m pip install --quiet $(TORCH_INDEX) \
		"$$(grep '^torch==' constraints.txt)"
	.venv-parity/bin/python -m pip install --quiet -c constraints.txt -e '.[dev,parity]'
	touch $@

demo: install
	$(BIN)/lmlab demo

bench: install
	$(BIN)/python bench/training.py
	$(BIN)/python bench/generation.py
	$(BIN)/python bench/startup.py
	$(BIN)/python bench/saving.py

golden: install
	LMLAB_GOLDEN=write $(BIN)/pytest tests/golden

docs: install
	$(BIN)/python -m lmlab.evidence.documents
