# Greenlane's commands. `make` alone lists them.
VENV ?= .venv
# How many processes run the tests, each whole files: tests of one file may share a running demo.
WORKERS ?= 2
PYTEST_ARGS ?=
# How many rounds of chaos, what is drawn in them, and the number of the first.
ROUNDS ?= 20
SEED ?= 1
FROM ?= 1
PYTHON := $(VENV)/bin/python
# What `check --deploy` sees: a site as it would stand in production.
PRODUCTION := env DEBUG=off PUBLIC_URL=https://greenlane.example ALLOWED_HOSTS=greenlane.example \
	SECRET_KEY=only-for-the-check-of-a-production-setup-0123456789-abcdefghij \
	ENCRYPTION_KEYS=MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY= \
	DATABASE_URL=postgresql://greenlane_app@127.0.0.1:1/greenlane REDIS_URL=redis://127.0.0.1:1/0 \
	DATABASE_OWNER_URL=postgresql://greenlane_owner@127.0.0.1:1/greenlane

.DEFAULT_GOAL := help
.PHONY: help demo test test-browser lint format bench chaos reset prepare prepare-dev

help: ## List the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s%s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: prepare ## Run Greenlane here with a demo organization; PORT=8080 sets the port, Ctrl-C stops it
	@exec $(PYTHON) -m config.demo

test: prepare-dev ## Run all tests on throw-away servers of their own
	@exec $(PYTHON) -m pytest -n $(WORKERS) --dist loadfile $(PYTEST_ARGS)

test-browser: prepare-dev ## Run the browser tests; fails where no Chromium is found
	@exec env BROWSER_REQUIRED=1 $(PYTHON) -m pytest -m browser $(PYTEST_ARGS)

lint: prepare-dev ## Check style, types, layers, migrations and production settings
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PRODUCTION) $(PYTHON) -m mypy .
	$(VENV)/bin/lint-imports
	$(PRODUCTION) $(PYTHON) -W 'ignore:Got an error checking a consistent' manage.py makemigrations --check --dry-run
	$(PRODUCTION) $(PYTHON) manage.py check --deploy --fail-level WARNING

format: prepare-dev ## Bring the code into shape
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .

bench: prepare-dev ## Measure; figures are printed
	@exec $(PYTHON) -m benchmarks

chaos: prepare-dev ## Kill, freeze and mislead all that an order needs, then count; ROUNDS=20 SEED=1
	@exec $(PYTHON) -m chaos --rounds $(ROUNDS) --seed $(SEED) --from $(FROM)

reset: ## Stop the demo and remove its data
	@if [ -x $(PYTHON) ]; then exec $(PYTHON) -m config.embedded reset; else exec python3 -m config.embedded reset; fi

prepare:
	@.ci/prepare $(VENV) requirements.txt

prepare-dev:
	@.ci/prepare $(VENV) requirements-dev.txt
