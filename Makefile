# The only door: people, CI and pre-commit call these targets.
PYTHON ?= python3
# A GPU machine names the index of its CUDA build of the same torch version here.
TORCH_INDEX := $(if $(LMLAB_TORCH_INDEX),--index-url $(LMLAB_TORCH_INDEX),)

# LMLAB_UV=1 installs by uv, which shares its cache (UV_CACHE_DIR) among the environments of many
# nodes; each node may have its own, on its own disk (UV_PROJECT_ENVIRONMENT).
ifeq ($(LMLAB_UV),1)
ENV := $(or $(UV_PROJECT_ENVIRONMENT),.venv)
MAKE_ENV = uv venv --quiet --python $(PYTHON) "$(ENV)"
INSTALL = uv pip install --quiet --python $(BIN)/python
else
ENV := .venv
MAKE_ENV = $(PYTHON) -m venv "$(ENV)"
INSTALL = $(BIN)/python -m pip install --quiet
endif
BIN := $(ENV)/bin

.PHONY: install check test services test-services test-all demo bench golden docs

# One that is broken (its python is gone, torch does not load) is made again.
install:
	@$(BIN)/python -c "import torch; torch.ones(1)" 2>/dev/null \
		|| ! test -f "$(ENV)/pyvenv.cfg" \
		|| { echo "$(ENV) is broken: it is made again"; rm -rf "$(ENV)"; }
	@$(MAKE) --no-print-directory "$(ENV)/installed"

$(ENV)/installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(MAKE_ENV)
	$(INSTALL) $(TORCH_INDEX) "$$(grep '^torch==' constraints.txt)"
	$(INSTALL) -c constraints.txt -e '.[dev]'
	touch $@

check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/basedpyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports
	$(BIN)/python -m lmlab.evidence.documents --check

# Two files at a time, each test on one thread: what runs beside it does not change its bits.
test: install
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile -m "not slow and not parity \
		and not slurm and not s3 and not torchrun and not browser and not gpu and not net"

# Debian's packages, as root: what the tests of real services start and stop themselves.
services:
	command -v chromium >/dev/null || (apt-get update -q && \
		apt-get install -y -q --no-install-recommends chromium fonts-dejavu-core)
	command -v slurmctld >/dev/null || (apt-get update -q && \
		apt-get install -y -q --no-install-recommends slurmctld slurmd slurm-client munge)

test-services: install
	$(BIN)/pytest -m "(browser or slurm or s3 or torchrun) and not slow"

test-all: install .venv-parity/installed .venv-cloud/installed
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile -m "not slurm and not s3 and not browser \
		and not net and not parity"
	PATH="$(CURDIR)/.venv-cloud/bin:$$PATH" .venv-parity/bin/pytest -m parity

# Other implementations live apart: what they install must not decide what is tested.
.venv-parity/installed: pyproject.toml constraints.txt
	test -x .venv-parity/bin/python || $(PYTHON) -m venv .venv-parity
	.venv-parity/bin/python -m pip install --quiet $(TORCH_INDEX) \
		"$$(grep '^torch==' constraints.txt)"
	.venv-parity/bin/python -m pip install --quiet -c constraints.txt -e '.[dev,parity]'
	touch $@

# The programs of --on cloud; SkyPilot wants an older click than the rest.
.venv-cloud/installed: Makefile
	test -x .venv-cloud/bin/python || $(PYTHON) -m venv .venv-cloud
	.venv-cloud/bin/python -m pip install --quiet vastai==1.9.1 skypilot==0.14.1
	touch $@

demo: install
	$(BIN)/lmlab demo

bench: install
	$(BIN)/python bench/training.py
	$(BIN)/python bench/precision.py
	$(BIN)/python bench/generation.py
	$(BIN)/python bench/startup.py
	$(BIN)/python bench/saving.py
	$(BIN)/python bench/attention.py
	$(BIN)/python bench/scaling.py
	$(BIN)/python bench/kills.py

golden: install
	LMLAB_GOLDEN=write $(BIN)/pytest tests/golden tests/launch/test_sky.py

docs: install
	$(BIN)/python -m lmlab.evidence.documents
