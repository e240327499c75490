# `make` alone lists the targets.
PYTHON ?= python3
PORT ?= 8000
DATA_DIR ?= ./data
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help serve test check format bench styles build clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(VENV)/installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[server]'
	touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --group dev
	touch $@

serve: $(VENV)/installed ## run the service for development (PORT=8000 DATA_DIR=./data)
	@exec $(BIN)/denizen serve --dev --port $(PORT) --data-dir $(DATA_DIR)

# another major than the wheel's, where the machine has one
OTHER_POSTGRES := $(lastword $(sort $(wildcard /usr/lib/postgresql/*/bin)))
ON_DATABASE := $(addprefix tests/integration/,db users sessions host test_migrations.py test_sketch.py)

test: $(VENV)/installed-dev ## the whole test suite, on a PostgreSQL of its own
	$(BIN)/python -m pytest -n auto
	test -z "$(OTHER_POSTGRES)" || \
	  DENIZEN_TEST_POSTGRES_BIN=$(OTHER_POSTGRES) $(BIN)/python -m pytest -n auto $(ON_DATABASE)

check: $(VENV)/installed-dev ## lint, format, types and import rules
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/pyright

format: $(VENV)/installed-dev ## put the code into shape
	$(BIN)/ruff check --fix-only --quiet
	$(BIN)/ruff format

bench: $(VENV)/installed-dev ## compare with a hand-written program, in one run
	$(BIN)/python -m bench

STYLES_OUT ?= styles-results

styles: $(VENV)/installed-dev ## measure five styles of one users slice (some minutes)
	PYTHONPATH=src:tests:examples $(BIN)/python -m bench.styles $(STYLES_OUT)

build: $(VENV)/installed-dev ## build the wheel and try it in clean environments
	rm -rf dist && mkdir dist
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .
	$(PYTHON) -m venv dist/light && dist/light/bin/pip install --quiet dist/*.whl
	dist/light/bin/python -c "from denizen import DBSessionManager, UserModel, Denizen"
	$(PYTHON) -m venv dist/server && dist/server/bin/pip install --quiet "$$(ls dist/*.whl)[server]"
	cd dist && server/bin/denizen users create a@example.com a --data-dir data --json
	rm -rf dist/light dist/server dist/data

clean: ## remove what was built and installed; data stays
	rm -rf $(VENV) dist .pytest_tmp .mypy_cache .ruff_cache .pytest_cache .hypothesis
