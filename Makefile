# `make demo` and `make test` need Python 3.10 or newer and nothing else: they make their own
# virtual environment in .venv and install everything into it.

PYTHON ?= python3
VENV ?= .venv
# One version of torch for everyone who runs the tests; setup.py names all that the package takes.
TORCH ?= torch==2.13.0
PIP_FLAGS ?=
DEMO_OUT ?= demo

BIN := $(VENV)/bin

.PHONY: demo test lint install clean

demo: install
	$(BIN)/vseg demo --out $(DEMO_OUT)

test: install lint
	$(BIN)/python -m pytest test -n auto --maxprocesses 8

lint: install
	$(BIN)/ruff check .
	$(BIN)/mypy

install: $(VENV)/installed

# torch is named in the same command as what depends on it, so that pip never takes another.
$(VENV)/installed: setup.py pyproject.toml vseg_ros/__init__.py
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "vseg_ros needs Python 3.10 or newer: name one with PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV) || (echo 'on Debian and Ubuntu: apt install python3-venv' && false)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_FLAGS) $(TORCH) -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info
