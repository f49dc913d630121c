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

# A release: the run that it is made from, the bundle that was released before (none if it is the
# first), the loss against that one that is tolerated, the image's name, and the release's tag.
RUN ?= runs/latest
AGAINST ?= $(wildcard dist/released/model)
MARGIN ?= 0
IMAGE ?= textmill:latest
TAG ?=

.DEFAULT_GOAL := help
.PHONY: help train test bench lint lint-workflows types manifests format clean
.PHONY: package readme release release-train released gate verify export bundle image push publish

help: ## Show this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

train: $(VENV)/.installed ## Install Textmill, and train the default classifier
	$(VENV)/bin/textmill train $(ARGS)

test: $(VENV)/.installed-dev ## Install Textmill with its tools, and run all tests
	$(VENV)/bin/python -m pytest --numprocesses auto --dist worksteal $(ARGS)

bench: $(VENV)/.installed-bench ## Measure how fast Textmill is, beside its peers
	$(VENV)/bin/python -m benchmarks.speed $(ARGS)

lint: $(VENV)/.installed-dev types manifests lint-workflows ## Check style, imports, types, manifests and CI
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/lint-imports

lint-workflows: $(VENV)/.installed-dev ## Check the workflows of .github
	$(VENV)/bin/actionlint .github/workflows/*.yaml
	$(VENV)/bin/zizmor --offline --no-progress --quiet .github

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

package: $(VENV)/.installed-dev ## Build the wheel, and try it outside the checkout
	rm -rf build dist/textmill-*
	PIP_CONSTRAINT=$(CURDIR)/constraints.txt $(VENV)/bin/python -m build --outdir dist
	$(VENV)/bin/python -m venv --clear build/package
	build/package/bin/python -I -m pip install --no-compile --constraint constraints.txt \
		"$$(echo dist/textmill-*.whl)[serve]"
	cd / && $(CURDIR)/build/package/bin/python -I -m textmill --help
	$(VENV)/bin/python -m pytest tests/real/test_wheel.py
	cd dist && sha256sum textmill-*.whl > textmill.whl.sha256

readme: $(VENV)/.installed-dev ## Run the commands of the README and of all pages
	$(VENV)/bin/python -m pytest tests/real/test_docs.py

release: ## All steps of a release up to publishing, one after the other
	$(MAKE) release-train
	$(MAKE) gate
	$(MAKE) verify
	$(MAKE) export
	$(MAKE) bundle
	$(MAKE) package
	@if command -v docker; then $(MAKE) image; else echo 'no container engine, so no image'; fi

release-train: $(VENV)/.installed-release ## Train and judge the model to release, on pinned data
	$(VENV)/bin/textmill train name=release $(ARGS)

released: ## Fetch the bundle of the last release, if there is one, for the gate; needs gh
	rm -rf dist/released
	set -e; \
	tag=$$(gh release list --exclude-drafts --exclude-pre-releases --limit 1 \
		--json tagName --jq '.[].tagName'); \
	if [ -z "$$tag" ]; then echo 'nothing has been released yet'; exit; fi; \
	gh release download "$$tag" --dir dist/released --pattern 'model.tar.gz*'; \
	cd dist/released; sha256sum --check model.tar.gz.sha256; tar -xzf model.tar.gz

gate: $(VENV)/.installed-release ## Block a model that is worse than the released one
	$(VENV)/bin/textmill gate $(RUN) $(if $(AGAINST),--against $(AGAINST)) --margin $(MARGIN)

verify: $(VENV)/.installed-release ## Prove that the bundle is what was trained, in all its forms
	$(VENV)/bin/textmill verify $(RUN)

export: $(VENV)/.installed-release ## Add the form for ONNX Runtime, and prove that it is the same
	$(VENV)/bin/textmill export $(RUN)
	$(VENV)/bin/textmill verify $(RUN)

bundle: ## Pack the bundle, with its SHA-256 and its card beside it
	mkdir -p dist
	tar -czf dist/model.tar.gz -C $(RUN) model
	cd dist && sha256sum model.tar.gz > model.tar.gz.sha256
	cp $(RUN)/model/README.md dist/model-card.md

image: ## Build the image of the service, with the packed bundle in it; needs Docker
	rm -rf bundles/release
	mkdir -p bundles/release
	tar -xzf dist/model.tar.gz --strip-components 1 -C bundles/release
	docker build --tag $(IMAGE) --target baked --build-arg BUNDLE=bundles/release .

push: ## Send the image to its registry as REGISTRY_USER, with REGISTRY_TOKEN; needs Docker
	@printenv REGISTRY_TOKEN | docker login $(firstword $(subst /, ,$(IMAGE))) \
		--username "$$REGISTRY_USER" --password-stdin
	docker push $(IMAGE)

publish: ## Release what is in dist under TAG, with the card as its notes; needs gh
	gh release create $(TAG) --verify-tag --title $(TAG) --notes-file dist/model-card.md \
		dist/model.tar.gz dist/model-card.md dist/textmill-*.whl dist/*.sha256

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

$(VENV)/.installed-release: pyproject.toml constraints.txt | $(VENV)/bin/pip
	$(INSTALL) '.[train,onnx]'
	@touch $(VENV)/.installed $@

$(VENV)/.installed-bench: pyproject.toml constraints.txt | $(VENV)/bin/pip
	$(INSTALL) '.[bench]'
	@touch $(VENV)/.installed $@
