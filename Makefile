# Two commands on a fresh machine with Python 3.11+ and make:
#   make demo    the gateway between an embedded issuer and an embedded FHIR server, with copy-and-paste curl lines
#   make test    the test suite that needs only Python
# `make help` lists the rest.

.DEFAULT_GOAL := help
.PHONY: help demo test lint format types contracts coverage policies integration bench docs tables schema check clean

# The first of these that the package supports; or say it: make PYTHON=/opt/python3.12/bin/python3
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
  "$$p" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo "$$p" && break; done)
BIN := .venv/bin
# Over the cores of the machine, each file of tests in one process: what a file starts, it starts once.
SPREAD := -n auto --dist loadfile
COMMA := ,
SPACE := $(COMMA:,=) $(COMMA:,=)
CORE := fhir scopes request boundary policy answers

help: ## this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

.venv/.created:
	@test -n "$(PYTHON)" || { echo "smart-gateway needs Python 3.11, 3.12 or 3.13: make PYTHON=/path/to/python" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	touch $@

.venv/.test: .venv/.created pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[test]'
	touch $@

.venv/.dev: .venv/.test pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@

demo: .venv/.test ## run the gateway with nothing else installed, until Ctrl-C
	$(BIN)/smart-gateway demo $(ARGS)

test: .venv/.test ## the tests that need only Python
	$(BIN)/python -m pytest -m "not integration" $(SPREAD) $(ARGS)

lint: .venv/.dev ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: .venv/.dev ## ruff: put into format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: .venv/.dev ## mypy --strict
	$(BIN)/mypy

contracts: .venv/.dev ## which room may import which
	$(BIN)/lint-imports

coverage: .venv/.test ## branch coverage of the rooms that decide, by their own tests and the gateway's: at least 95 %
	$(BIN)/python -m pytest -q -m "not integration and not generated" $(SPREAD) --cov --cov-report= $(CORE:%=tests/%) tests/gateway tests/cli/test_policy_verbs.py $(ARGS)
	$(BIN)/coverage report --fail-under=95 --show-missing --skip-covered --include='$(subst $(SPACE),$(COMMA),$(CORE:%=smart_gateway/%/**))'

policies: .venv/.test ## the example policies by their cases: all pass, every rule is held
	$(BIN)/smart-gateway test examples/policies/*.test.yaml --threshold 100 $(ARGS)

integration: .venv/.test ## against real HAPI and real Keycloak (needs Java 17 and Maven), and in Chromium (pip install -e '.[browser]')
	$(BIN)/python -m pytest -m integration $(SPREAD) $(ARGS)

bench: .venv/.test ## requests a second and CPU for each request (needs nginx and wrk)
	$(BIN)/python -m benchmarks $(ARGS)

docs: .venv/.test ## docs/settings.md from the settings' models, docs/decision-table.md from the code's decisions
	$(BIN)/python tools/settings_reference.py
	$(BIN)/python tools/decision_table.py

tables: .venv/.test ## smart_gateway/fhir/data from HL7's definitions (needs Maven); ARGS=--check compares only
	$(BIN)/python tools/generate_tables.py $(ARGS)

schema: .venv/.test ## config/gateway.schema.json from the settings' models
	$(BIN)/smart-gateway schema > config/gateway.schema.json.new
	mv config/gateway.schema.json.new config/gateway.schema.json

check: lint types contracts test ## what to run before a commit

clean: ## everything made here, not the caches outside the tree
	rm -rf .venv .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
