# Everything sets itself up in .venv from Python 3.11 or newer, make, and the package index.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
QUICK := 'not slow and not outside'

.PHONY: help setup demo demo-gfn1 test test-all coverage lint docs site clean

help:
	@echo "make demo    run examples/pyr14bf4-dft.toml: models of DFT labels, which of them holds the liquid, a report (ten minutes on two cores)"
	@echo "make demo-gfn1  run examples/pyr14bf4-quick.toml, which makes its own labels (ten minutes)"
	@echo "make test    check style, and run the tests that are quick and need no program from elsewhere (a quarter of an hour)"
	@echo "make test-all  check style, and run all tests"
	@echo "make coverage  run the quick tests, and print the share of lines that they run"
	@echo "make lint    check style, types and the direction of imports"
	@echo "make docs    write the generated pages of docs/ again"
	@echo "make site    build the site of the documentation in site/"
	@echo "make setup   only make the environment in $(VENV)"

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("ilforge needs Python 3.11 or newer, found " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[all,test]'
	@touch $(STAMP)

demo: $(STAMP)
	$(BIN)/ilforge run examples/pyr14bf4-dft.toml

demo-gfn1: $(STAMP)
	$(BIN)/ilforge run examples/pyr14bf4-quick.toml

test: $(STAMP) lint
	$(BIN)/python -m pytest -n 2 --dist loadfile -m $(QUICK)

test-all: $(STAMP) lint
	$(BIN)/python -m pytest -n 2 --dist loadfile --durations=40 --durations-min=20

coverage: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist loadfile -m $(QUICK) --cov=ilforge --cov-report=term:skip-covered

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

docs: $(STAMP)
	$(BIN)/python docs/generate.py

site: $(VENV)/.site
	$(BIN)/mkdocs build --strict

$(VENV)/.site: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	@touch $@

clean:
	rm -rf $(VENV) build site *.egg-info
