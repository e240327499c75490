# `make` alone lists the targets.
PYTHON ?= python3
PORT ?= 8000
DATA_DIR ?= ./data
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help serve test fuzz faults faults-import check format words bench bench-bulk bench-size styles screenshots build clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(VENV)/installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[server]'
	touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --group dev
	touch $@

serve: $(VENV)/installed ## run the service for development (PORT=8000 DATA_DIR=./data)
	@exec $(BIN)/denizen serve --dev --port "$(PORT)" --data-dir "$(DATA_DIR)"

# another major than the wheel's, where the machine has one
OTHER_POSTGRES := $(lastword $(sort $(wildcard /usr/lib/postgresql/*/bin)))
ON_DATABASE := $(addprefix tests/integration/,db users host test_migrations.py test_sketch.py)
# 100,000 users walked four times, half a minute of a core: once is enough
LONG_WALK := tests/integration/users/test_paged_walk.py::test_walks_while_others_write_see_each_that_stayed_once

test: $(VENV)/installed-dev ## the whole test suite, on a PostgreSQL of its own
	$(BIN)/python -m pytest -n auto --dist worksteal
	test -z "$(OTHER_POSTGRES)" || \
	  DENIZEN_TEST_POSTGRES_BIN=$(OTHER_POSTGRES) $(BIN)/python -m pytest -n auto --dist worksteal \
	    --deselect $(LONG_WALK) $(ON_DATABASE)

# every example has a seed of its own, counted from the first; one that fails says how to repeat it
FUZZ := tests/integration/machines tests/integration/http/test_openapi_fuzz.py
SEED ?= $(shell date +%s)
EXAMPLES ?= 1000

fuzz: $(VENV)/installed-dev ## the state machines with examples nobody has seen (EXAMPLES=1000 SEED=)
	@echo "SEED=$(SEED)"
	FUZZ_SEED=$(SEED) FUZZ_EXAMPLES=$(EXAMPLES) $(BIN)/python -m pytest -n auto $(FUZZ)

faults: $(VENV)/installed-dev ## every fault in full; what was measured goes into docs/faults.md
	rm -f docs/faults.json.part
	DENIZEN_FAULTS=full DENIZEN_FAULTS_OUT=docs/faults.json.part \
	  $(BIN)/python -m pytest -p no:randomly tests/faults
	mv docs/faults.json.part docs/faults.json
	$(BIN)/python docs/faults.py > docs/faults.md

faults-import: $(VENV)/installed-dev ## an import of 100,000 users, killed ten times
	DENIZEN_TEST_IMPORT_ROWS=100000 DENIZEN_TEST_IMPORT_KILLS=10 \
	  $(BIN)/python -m pytest tests/integration/imports/test_kills.py

check: $(VENV)/installed-dev ## lint, format, types and import rules
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/pyright

format: $(VENV)/installed-dev ## put the code into shape
	$(BIN)/ruff check --fix-only --quiet
	$(BIN)/ruff format

PAGES := src/denizen/pages
words: $(VENV)/installed-dev ## put new words of the pages into locale/*.po, to be translated there
	$(BIN)/pybabel -q extract -F pyproject.toml --no-location --sort-output --width 100 \
	  -o $(PAGES)/locale/words.pot $(PAGES)
	$(BIN)/pybabel -q update -i $(PAGES)/locale/words.pot -o $(PAGES)/locale/ru.po -l ru \
	  --no-fuzzy-matching --ignore-obsolete --ignore-pot-creation-date --width 100
	sed -i '/^"\(Project\|Report\|POT\|PO-\|Last\|Language-Team\|Generated\)/d' $(PAGES)/locale/ru.po
	rm $(PAGES)/locale/words.pot

# the peers live in an environment of their own; what can't be had here is left out, and said
.bench/installed: bench/peers/requirements.txt bench/peers/better_auth/package.json
	$(PYTHON) -m venv .bench/venv
	-.bench/venv/bin/pip install --quiet -r bench/peers/requirements.txt
	-command -v npm > /dev/null && cp -r bench/peers/better_auth .bench/ && \
	  npm install --prefix .bench/better_auth --silent --no-audit --no-fund
	touch $@

bench: $(VENV)/installed-dev .bench/installed ## every goal against the peers, in one run (QUICK=1)
	$(BIN)/python -m bench $(OUT)

bench-bulk: $(VENV)/installed-dev ## import and export a million users, against COPY
	$(BIN)/python -m bench.bulk

bench-size: $(VENV)/installed-dev ## rates by the number of workers; costs from 10,000 users to 10,000,000 (half an hour)
	$(BIN)/python -m bench.workers
	$(BIN)/python -m bench.growth

STYLES_OUT ?= styles-results

styles: $(VENV)/installed-dev ## measure five styles of one users slice (20 minutes)
	PYTHONPATH=src:tests:examples $(BIN)/python -m bench.styles $(STYLES_OUT)

screenshots: $(VENV)/installed-dev ## photograph the main pages into docs/screenshots
	PYTHONPATH=src:tests $(BIN)/python docs/screenshots.py

build: $(VENV)/installed-dev ## build the wheel and try it in clean environments
	rm -rf dist && mkdir dist
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .
	$(PYTHON) -m venv dist/light && dist/light/bin/pip install --quiet dist/*.whl
	dist/light/bin/python -c "from denizen import DBSessionManager, UserModel, Denizen"
	dist/light/bin/python -c "from denizen.mail.render import Renderer, Sender; \
	  assert Renderer(Sender('a@example.com'), 'templates').check() == []"
	$(PYTHON) -m venv dist/server && dist/server/bin/pip install --quiet "$$(ls dist/*.whl)[server]"
	cd dist && server/bin/denizen users create a@example.com a --data-dir data --json
	rm -rf dist/light dist/server dist/data

clean: ## remove what was built and installed; data stays
	rm -rf $(VENV) dist .pytest_tmp .mypy_cache .ruff_cache .pytest_cache .hypothesis
