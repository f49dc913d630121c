# Two commands do everything on a fresh machine: make train, make test. Both make what they need.

PYTHON ?= python3
VENV ?= .venv
# Options of `textmill train`, pytest or the benchmark: make train ARGS="data=tweets seed=7"
ARGS ?=

# Modules are compiled when they are first imported, and so must be kept: compiling all of them at
# once would take a minute, compiling anew in each process much more.
unexport PYTHONDONTWRITEBYTECODE
INSTALL = $(VENV)/bin/python -m pip install --no-compile --constraint constraints.txt --editable

YAML_RULES = {extends: default, rules: {document-start: disable, line-length: {max: 100}}}
# Kustomize reads its own file alone; the cluster has no schema of it.
KUBERNETES = $(filter-out %/kustomization.yaml,$(wildcard deploy/kubernetes/*.yaml))

.DEFAULT_GOAL := help
.PHONY: help train test bench lint types manifests format clean

help: ## Show this help
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

train: $(VENV)/.installed ## Install Textmill, and train the default classifier
	$(VENV)/bin/textmill train $(ARGS)

test: $(VENV)/.installed-dev ## Install Textmill with its tools, and run all tests
	$(VENV)/bin/python -m pytest --numprocesses auto --dist worksteal $(ARGS)

bench: $(VENV)/.installed-bench ## Measure how fast Textmill is, beside its peers
	$(VENV)/bin/python -m benchmarks.speed $(ARGS)

lint: $(VENV)/.installed-dev types manifests ## Check style, formatting, the import floors, types and manifests
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/lint-imports

types: $(VENV)/.installed-dev ## Check types
	$(VENV)/bin/mypy

manifests: $(VENV)/.installed-dev ## Check the Dockerfiles and the manifests in deploy/
	$(VENV)/bin/hadolint Dockerfile deploy/lambda/Dockerfile
	$(VENV)/bin/yamllint --strict --config-data '$(YAML_RULES)' deploy
	$(VENV)/bin/check-jsonschema --quiet --builtin-schema vendor.compose-spec deploy/compose.yaml
	$(VENV)/bin/kubernetes-validate --strict --quiet $(KUBERNETES)

format: $(VENV)/.installed-dev ## Format, and mend what can be mended
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

clean: ## Remove the virtual environment, builds and caches; runs stay
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find src tests benchmarks -name '__pycache__' -prune -exec rm -rf {} +
	find src -name '*.egg-info' -prune -exec rm -rf {} +

# The file that venv makes last: where it is, the environment is whole.
$(VENV)/bin/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo 'Textmill needs Python 3.11 or newer: make ... PYTHON=python3.12' >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/pip
	$(INSTALL) '.[train]'
	@touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(VENV)/bin/pip
	$(INSTALL) '.[dev]'
	@touch $(VENV)/.installed $@

$(VENV)/.installed-bench: pyproject.toml constraints.txt | $(VENV)/bin/pip
	$(INSTALL) '.[bench]'
	@touch $(VENV)/.installed $@
