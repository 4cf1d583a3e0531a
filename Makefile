# make demo · make test — each sets up what it needs on a machine with python3 (3.10 or newer) and make.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help demo test test-fast lint format bench shots docs grafana messages static setup clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

demo: $(VENV)/.demo-ready  ## a simulated studio on real sockets, with its dashboard
	@exec $(BIN)/tierwatch demo $(ARGS)

test: lint  ## everything: lint, types, imports, tests (the fast ones first)
	@$(BIN)/pytest -q -m "not slow"
	@$(BIN)/pytest -q -m slow --numprocesses 3 --dist loadfile

test-fast: $(VENV)/.dev-ready  ## the fast tests alone
	@$(BIN)/pytest -q -m "not slow" $(ARGS)

lint: setup  ## format, lint, types, direction of imports
	@$(BIN)/ruff format --check --quiet . && $(BIN)/ruff check --quiet .
	@$(BIN)/pyright --stats false 2>/dev/null || $(BIN)/pyright
	@$(BIN)/lint-imports --no-cache

format: $(VENV)/.dev-ready  ## formats and mends what can be mended
	@$(BIN)/ruff format --quiet . && $(BIN)/ruff check --quiet --fix .

bench: setup  ## every benchmark under tests/bench, beside its peer
	@for bench in tests/bench/[a-z]*.py; do $(BIN)/python -m tests.bench.$$(basename $$bench .py) || exit 1; done

shots: setup  ## screenshots of the demo's pages, for README
	@$(BIN)/python -m tests.end_to_end.shots

docs: $(VENV)/.dev-ready  ## docs/metrics.md from the catalogue
	@$(BIN)/python docs/make_metrics.py

grafana: $(VENV)/.dev-ready  ## grafana/dashboards/*.json from the code beside them
	@$(BIN)/python -m grafana.generate

TRANSLATIONS := dashboard/tierwatch_dashboard/translations
messages: $(VENV)/.dev-ready  ## the pages' sentences into the languages' catalogues
	@mkdir -p .build && $(BIN)/pybabel -q extract -F babel.cfg -k say -k say_many:1,2 -k phrase --no-location \
	  --sort-output --omit-header -o .build/messages.pot agent dashboard
	@$(BIN)/pybabel -q update -i .build/messages.pot -d $(TRANSLATIONS) --no-fuzzy-matching --ignore-obsolete \
	  --ignore-pot-creation-date

static:  ## fetches the pages' third-party scripts again (npm), pinned by version and digest
	@$(PYTHON) dashboard/fetch_static.py

setup: $(VENV)/.dev-ready
	@tests/system_packages.sh

clean:  ## removes what make created
	rm -rf $(VENV) .build .demo dist

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "Tierwatch needs Python 3.10 or newer; this is $$($(PYTHON) --version). Set PYTHON=..." >&2; exit 2; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; \
	  then apt-get update -qq && apt-get install -y -qq python3-venv >/dev/null && $(PYTHON) -m venv $(VENV); \
	  else echo "python3 has no venv module here; on Debian and Ubuntu: sudo apt-get install python3-venv" >&2; exit 2; fi; }
	@$(BIN)/pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'

$(VENV)/.demo-ready: pyproject.toml | $(VENV)/bin/python
	@echo "Setting up $(VENV) …"
	@$(BIN)/pip install --quiet --editable '.[dashboard]'
	@touch $@

$(VENV)/.dev-ready: pyproject.toml | $(VENV)/bin/python
	@echo "Setting up $(VENV) for tests …"
	@$(BIN)/pip install --quiet --editable '.[dashboard,postgresql]' --group dev
	@touch $(VENV)/.demo-ready $@
