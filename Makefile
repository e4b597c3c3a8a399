# `make run` and `make test` are all a new user needs. Both create a virtual environment in .venv.
#
#   make run ARGS="micro --trials 20"    other arguments of `autoresearch-rl run`
#   make test ARGS="-k corpus"           other arguments of pytest
#   make run PIP="--index-url URL"       where pip finds torch (see "Which torch" in the README)

PYTHON ?= python3
VENV ?= .venv
PIP ?=
ARGS ?=

.PHONY: run test check format clean

run: $(VENV)/installed
	$(VENV)/bin/autoresearch-rl run $(ARGS)

test: check
	$(VENV)/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

check: $(VENV)/installed-dev
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy

format: $(VENV)/installed-dev
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed, but $(PYTHON) is older: make PYTHON=python3.11 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml | $(VENV)/bin/python
	$(VENV)/bin/python -m pip install --quiet $(PIP) -e .
	@touch $@

$(VENV)/installed-dev: pyproject.toml | $(VENV)/bin/python
	$(VENV)/bin/python -m pip install --quiet $(PIP) -e ".[dev]"
	@touch $@ $(VENV)/installed

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build src/*.egg-info
