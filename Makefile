# Set-up, tests and the demonstration, each one command. What is installed stands in pyproject.toml.

PYTHON ?= python3
VENV   ?= .venv
TASK   ?= digits
TORCH  ?=
LIGHT  ?=
ARGS   ?=
POINTS ?= 500
SECONDS_OF_FUZZ ?= 600

# Once light, always light: the ordinary torchvision beside a CPU-only torch cannot be imported.
ifneq ($(wildcard $(VENV)/.light),)
override LIGHT := 1
endif

PY  := "$(VENV)/bin/python"
PIP := $(PY) -m pip --disable-pip-version-check

# Prints pyproject's dependencies (argument: an extra as well) without those that LIGHT leaves out.
LIGHT_LIST := $(PY) -c 'import sys, tomllib; \
project = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
extra = project["optional-dependencies"][sys.argv[1]] if sys.argv[1:] else []; \
heavy = ("torchvision", "timm", "segmentation"); \
print(*(line for line in project["dependencies"] + extra if not line.startswith(heavy)), sep="\n")'

.PHONY: help demo test test-slow soak fuzz check lint types bench results clean
.DELETE_ON_ERROR:

help:
	@echo 'make demo       set up $(VENV), train on embedded data (TASK=$(TASK)), say where report.html is'
	@echo 'make test       set up and run the tests (ARGS="-k name" goes to pytest), files side by side'
	@echo 'make test-slow  the tests that take minutes'
	@echo 'make soak       kill runs POINTS=$(POINTS) times anywhere, finish and compare them; goes on where it stood'
	@echo 'make fuzz       feed every parser whatever breaks it, for SECONDS_OF_FUZZ=$(SECONDS_OF_FUZZ); goes on where it stood'
	@echo 'make check      lint, types, tests'
	@echo 'make bench      the speed ratios as one table (ARGS=--quick, or "--authors FOLDER --threads 2")'
	@echo 'make results    write docs/results.md and the key lines of README.md from results/; nothing is trained'
	@echo 'make clean      remove $(VENV) and the caches; runs/ stays'
	@echo ''
	@echo 'PYTHON=python3.12   the Python (3.11 or newer) that $(VENV) is made from'
	@echo 'VENV=folder         another place for the environment (no spaces)'
	@echo 'TORCH=torch==2.13.0 what pip installs first: a version, a file, options of pip'
	@echo 'LIGHT=1             leave out torchvision and timm, for a CPU-only TORCH; built-in models only'

demo: $(VENV)/.installed
	@"$(VENV)/bin/dmt" demo $(TASK)

test: $(VENV)/.installed-dev
	@$(PY) -m pytest -n auto --maxprocesses 4 --dist loadfile $(ARGS)

# The last -m wins over the one in pyproject.toml, which leaves the slow tests out.
test-slow: $(VENV)/.installed-dev
	@$(PY) -m pytest -m 'slow and not gpu' $(ARGS)

# What was found is kept below build/; remove build/soak to begin anew.
soak: $(VENV)/.installed-dev
	@$(PY) tests/faults/soak.py --points $(POINTS) $(ARGS)

# Inputs that broke something are kept in build/fuzz/findings.
fuzz: $(VENV)/.installed-fuzz
	@$(PY) tests/fuzz/parsers.py $(SECONDS_OF_FUZZ) $(ARGS)

check: lint types test

lint: $(VENV)/.installed-dev
	@$(PY) -m ruff check
	@$(PY) -m ruff format --check

types: $(VENV)/.installed-dev
	@$(PY) -m mypy

bench: $(VENV)/.installed-dev
	@$(PY) benchmarks/speed/all.py $(ARGS)

results: $(VENV)/.installed
	@$(PY) benchmarks/accuracy/results.py

clean:
	@if [ -f "$(VENV)/pyvenv.cfg" ]; then rm -rf "$(VENV)"; fi
	@rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis src/*.egg-info
	@find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/pyvenv.cfg:
	@command -v "$(PYTHON)" >/dev/null || \
	  { echo 'There is no $(PYTHON) here: install Python 3.11 or newer, or name one with PYTHON=.' >&2; exit 2; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo '$(PYTHON) is older than 3.11: install a newer Python and name it, for example PYTHON=python3.12.' >&2; exit 2; }
	@"$(PYTHON)" -m venv "$(VENV)" >/dev/null 2>&1 || \
	  { rm -f "$@"; echo 'Cannot create $(VENV): check that its folder can be written and that $(PYTHON) has venv (Debian: apt install python3-venv).' >&2; exit 2; }

# pyvenv.cfg is order-only: only its presence counts, what pip did later is dated by the stamps.
$(VENV)/.installed: pyproject.toml | $(VENV)/pyvenv.cfg
	@echo 'Installing into $(VENV): the first time takes minutes$(if $(LIGHT),, and several GB).'
	@$(if $(TORCH),$(PIP) install $(TORCH))
ifeq ($(LIGHT),)
	@$(PIP) install -e .
else
	@touch "$(VENV)/.light"
	@$(LIGHT_LIST) | $(PIP) install -r /dev/stdin
	@$(PIP) install --no-deps -e .
endif
	@touch "$@"

$(VENV)/.installed-dev: $(VENV)/.installed
ifeq ($(LIGHT),)
	@$(PIP) install -e '.[dev]'
else
	@$(LIGHT_LIST) dev | $(PIP) install -r /dev/stdin
endif
	@touch "$@"

$(VENV)/.installed-fuzz: $(VENV)/.installed
	@$(PIP) install atheris
	@touch "$@"
