# What a developer runs; `make` alone lists it. Needs Python 3.11 or 3.12 and make.
# HOST, PORTS, DATA_DIR, DATABASE_URL, REDIS_URL … are passed on to the command.

.DEFAULT_GOAL := help
# One pip at a time works on the venv; `make test` has it ready before suites run side by side.
ifndef READY
.NOTPARALLEL:
endif
.DELETE_ON_ERROR:
# Some containers set it; every process would compile all modules and rewrite all assertions anew.
unexport PYTHONDONTWRITEBYTECODE

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet --no-input
PYTEST := $(BIN)/python -m pytest
# Each worker has a database and a Redis of its own, and takes the next test when it is free.
JOBS ?= 2
SHARED_OUT := --no-loadscope-reorder --durations 15 --durations-min 1
SIDE_BY_SIDE := -n $(JOBS) $(SHARED_OUT)
# Tests of servers and pages mostly wait for them and for deadlines, so one more worker runs.
MOSTLY_WAITING := -n $(shell expr $(JOBS) + 1) $(SHARED_OUT)
# Checks import the settings, which generate files: keep those out of the real DATA_DIR.
CHECK := DATA_DIR=build/check
UV := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-header --no-annotate --no-emit-index-url --no-emit-find-links $(UPGRADE)

# A stamp is as old as the last install; a lock file that changed since is installed again.
MADE := $(VENV)/.made
RUNTIME := $(VENV)/.runtime
DEVELOPMENT := $(VENV)/.development

.PHONY: help
help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' Makefile

.PHONY: install
install: $(RUNTIME) ## Make the venv with what is needed to run; other targets do this themselves

.PHONY: install-dev
install-dev: $(DEVELOPMENT) ## Make the venv with what developing and testing need

.PHONY: static
static: $(RUNTIME) ## Collect the pages' files into staticfiles/, hashed and compressed, for a deployment
	@$(CHECK) $(BIN)/python manage.py collectstatic --no-input --verbosity 0

.PHONY: run
run: $(RUNTIME) ## Serve on HOST and PORTS; end with Ctrl-C
	@exec $(BIN)/python manage.py serve

.PHONY: demo
demo: $(RUNTIME) ## Play approve and reject against a running server, or start one
	@exec $(BIN)/python manage.py demo

# What runs side by side, the longest first; .ci/run adds `BESIDE=lint`.
SUITES := test-browser test-acceptance test-sqlite test-postgres test-unit

.PHONY: test
test: $(DEVELOPMENT) ## Run every test on every database, two suites side by side
	@echo "Running $(SUITES) $(BESIDE): two at a time, each printed when it has ended …"
	@status=0; \
	$(MAKE) READY=1 --no-print-directory --keep-going --jobs 2 --output-sync=target \
		$(SUITES) $(BESIDE) || status=1; \
	$(MAKE) --no-print-directory test-chaos || status=1; \
	exit $$status

.PHONY: test-unit
test-unit: $(DEVELOPMENT) ## Run the unit tests
	$(PYTEST) $(SIDE_BY_SIDE) tests/unit

.PHONY: test-sqlite
test-sqlite: $(DEVELOPMENT) ## Run the integration tests on SQLite
	TEST_DATABASE=sqlite $(PYTEST) $(SIDE_BY_SIDE) tests/integration

.PHONY: test-postgres
test-postgres: $(DEVELOPMENT) ## Run the integration tests on PostgreSQL
	TEST_DATABASE=postgres $(PYTEST) $(SIDE_BY_SIDE) tests/integration

.PHONY: test-million
test-million: $(DEVELOPMENT) ## Run the tests of plans on a million requests; in `make test` it is 100,000
	TEST_DATABASE=postgres TEST_REQUESTS=1000000 $(PYTEST) tests/integration/test_million.py

.PHONY: test-acceptance
test-acceptance: $(DEVELOPMENT) ## Run the tests that start the real server
	$(PYTEST) $(MOSTLY_WAITING) --ignore tests/acceptance/test_chaos.py tests/acceptance

.PHONY: test-chaos
test-chaos: $(DEVELOPMENT) ## Make parts fail under load for a minute; run nothing else meanwhile
	$(PYTEST) tests/acceptance/test_chaos.py

.PHONY: test-browser
test-browser: $(DEVELOPMENT) ## Run the tests of the desk in Chromium, the system's if there is one
	$(PYTEST) -rfERs $(MOSTLY_WAITING) tests/browser

.PHONY: test-desk
test-desk: $(DEVELOPMENT) ## Run those at every width and length as well, with pictures of every page
	DESK=all $(PYTEST) -rfERs $(MOSTLY_WAITING) tests/browser

.PHONY: screenshots
screenshots: $(DEVELOPMENT) ## Take pictures of every page at four widths into build/screenshots/gallery
	DESK=all $(PYTEST) -rs tests/browser/test_gallery.py

.PHONY: pictures
pictures: $(DEVELOPMENT) ## Take the README's pictures of the desk anew
	$(BIN)/python -m tests.browser.pictures

SEED ?= 1
DECISIONS ?= 10000
SECONDS ?= 4200
RATE ?= 3.6

.PHONY: chaos
chaos: $(DEVELOPMENT) ## Make parts fail under load and check every promise; SEED, DECISIONS, SECONDS, RATE
	@exec $(BIN)/python -m tests.chaos --seed $(SEED) --decisions $(DECISIONS) --seconds $(SECONDS) --rate $(RATE)

.PHONY: bench
bench: $(DEVELOPMENT) ## Measure decisions and waiting beside a floor and a plain application; QUICK=1 to try it
	@exec $(BIN)/python -m tests.bench $(if $(QUICK),--quick) $(if $(PROFILE),--profile $(PROFILE))

.PHONY: coverage
coverage: $(DEVELOPMENT) ## Measure the coverage of unit and integration tests
	@mkdir -p build
	rm -f build/coverage build/coverage.*
	$(BIN)/coverage run -m pytest -q tests/unit tests/integration
	TEST_DATABASE=postgres $(BIN)/coverage run -m pytest -q tests/integration
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

.PHONY: lint
lint: $(DEVELOPMENT) ## Check style, types, layers, migrations and settings
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(CHECK) $(BIN)/mypy
	$(BIN)/lint-imports
	$(CHECK) $(BIN)/python manage.py makemigrations --check --dry-run
	$(CHECK) $(BIN)/python manage.py check

.PHONY: format
format: $(DEVELOPMENT) ## Format the code and fix what ruff can fix
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: lock
lock: $(DEVELOPMENT) ## Write the lock files of requirements*.txt; UPGRADE=--upgrade for newer versions
	$(UV) --output-file requirements.lock requirements.txt
	$(UV) --constraints requirements.lock --output-file requirements-dev.lock requirements-dev.txt

.PHONY: messages
messages: $(DEVELOPMENT) ## Compile the translations under locale/
	$(BIN)/pybabel compile --domain django --directory locale

.PHONY: clean
clean: ## Remove the venv, caches and build/; DATA_DIR stays
	rm -rf $(VENV) build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(RUNTIME): requirements.lock $(MADE)
	@echo "Installing what requirements.lock names into $(VENV) …"
	@$(PIP) install --require-hashes --requirement requirements.lock
	@touch $@

# uv takes a fifth of pip's time. It does not know pip's settings: with an index of its own, or if
# uv fails, pip installs.
$(DEVELOPMENT): requirements-dev.lock requirements.lock $(MADE)
	@echo "Installing what requirements-dev.lock names into $(VENV) …"
	@awk '/^uv==/ {on = 1} on {print} on && !/\\$$/ {exit}' requirements-dev.lock >$(VENV)/uv.lock
	@$(PIP) install --require-hashes --requirement $(VENV)/uv.lock
	@if $(BIN)/python -m pip config list | grep -q '\.index-url' || \
		! $(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes \
		--requirement requirements-dev.lock; then \
		$(PIP) install --no-compile --require-hashes --requirement requirements-dev.lock; fi
	@touch $@ $(RUNTIME)

$(MADE):
	@for python in "$(PYTHON)" python3.12 python3.11; do \
		if "$$python" -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' \
			2>/dev/null; then found=$$python; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
		echo "No Python 3.11 or 3.12 found as $(PYTHON), python3.12 or python3.11." >&2; \
		echo "Install one, or name it: make PYTHON=/path/to/python3.12 …" >&2; exit 1; \
	fi; \
	"$$found" -m venv --clear $(VENV) || { \
		echo "venv failed. On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@touch $@
