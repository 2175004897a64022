# One entry per job; continuous integration runs the same names. `make help` lists them.
SHELL := /bin/bash -o pipefail
PYTHON ?= $(shell command -v python3.11 || command -v python3)
PY := .venv/bin/python
WORKERS ?= 2
# The stamps make a second `make` start at once; a changed lock file or pyproject makes the environment anew.
VENV := .venv/.made
ROUTER := .venv-router/.made
PIP := PIP_DISABLE_PIP_VERSION_CHECK=1

.DEFAULT_GOAL := help
.PHONY: help setup binaries browser images demo test check unit contracts page api router fleet generate verify lock bench clean

help: ## what there is
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV) $(ROUTER) binaries browser ## everything that demo and tests need: environments, Kubernetes binaries, browser

$(VENV): requirements/dev.txt pyproject.toml
	@echo "== .venv: the operator and its tools (locked with hashes)"
	@test -x $(PY) || $(PYTHON) -m venv .venv
	@$(PIP) $(PY) -m pip install --quiet --require-hashes -r requirements/dev.txt
	@$(PIP) $(PY) -m pip install --quiet --no-deps -e .
	@touch $@

$(ROUTER): requirements/router.txt
	@echo "== .venv-router: LiteLLM, the router (locked with hashes)"
	@test -x .venv-router/bin/python || $(PYTHON) -m venv .venv-router
	@$(PIP) .venv-router/bin/python -m pip install --quiet --require-hashes -r requirements/router.txt
	@touch $@

binaries: ## the Kubernetes binaries of the test cluster, built from source once (about 8 minutes)
	@$(PYTHON) e2e/cluster/cluster.py setup || echo "Going on without nodes."
	@$(PYTHON) e2e/cluster/cluster.py build

browser: $(VENV) ## a headless Chromium from Debian for the tests of the page (130 MB once, as root) and axe-core from npm
	@$(PY) -m e2e.browser.install

images: $(VENV) binaries ## the images of the demo, made without Docker or a registry
	@$(PYTHON) e2e/images/images.py build

demo: $(VENV) ## the main job on a real cluster, with a live table; KEEP=1 leaves it running
	@$(PYTHON) e2e/cluster/cluster.py setup || echo "Going on without nodes."
	@$(PY) -m e2e.demo.demo

test: setup check ## the checks and all tests
	@$(PY) -m pytest -n $(WORKERS) --dist loadfile --cov --cov-report=term:skip-covered tests --ignore=tests/fleet
	@if $(PYTHON) e2e/cluster/cluster.py can-run-nodes; then $(PY) -m pytest tests/fleet; \
	 else echo "The tests on the real cluster were left out: nodes cannot run on this machine."; fi

check: $(VENV) ## formatting, lint, types, layers
	@.venv/bin/ruff format --check .
	@.venv/bin/ruff check .
	@.venv/bin/mypy
	@for room in charts e2e/cluster e2e/images e2e/engines e2e/demo e2e/browser bench monitoring; do .venv/bin/mypy --strict $$room || exit 1; done
	@.venv/bin/lint-imports

unit: $(VENV) ## the fast tests only
	@$(PY) -m pytest -q -n $(WORKERS) tests/unit tests/property tests/golden

contracts: $(VENV) ## the contracts of the decision on 300,000 random fleets (75 minutes of one core; `make unit` tries 3,000)
	@HYPOTHESIS_PROFILE=long $(PY) -m pytest -q -n $(WORKERS) --dist worksteal -o timeout=0 tests/property

page: $(VENV) browser ## the tests of the page and of the alert rules; pictures of the page go to .pictures
	@mkdir -p .pictures
	@PAGE_PICTURES=.pictures $(PY) -m pytest -q tests/monitoring tests/unit/report/test_page.py

api: setup ## the tests on the real API server
	@$(PY) -m pytest -q tests/api

router: setup ## the tests on a real LiteLLM process
	@$(PY) -m pytest -q tests/router

fleet: setup ## the whole product on the real cluster with nodes (about six minutes)
	@$(PY) -m pytest tests/fleet

bench: setup ## what decisions, router, operator and engine cost here (BENCH="decision --json FILE")
	@$(PY) -m bench $(BENCH)

generate: $(VENV) ## crds/ and their reference from the models; the chart from its values; metrics, dashboard, rules
	@$(PY) -m comptroller crds --write crds
	@$(PY) -m monitoring
	@$(PY) charts/generate.py

verify: generate ## fails when something generated is not committed
	@git diff --exit-code -- crds charts docs/reference monitoring
	@test -z "$$(git ls-files --others --exclude-standard crds charts docs/reference monitoring)"

lock: ## the lock files, with hashes (needs uv)
	@for name in operator dev; do extra=$$([ $$name = dev ] && echo --extra dev); \
	  uv pip compile -q --python-version 3.11 --generate-hashes --no-emit-index-url --no-header $$extra pyproject.toml -o requirements/$$name.txt; done
	@for name in router simulation llamacpp; do \
	  uv pip compile -q --python-version 3.11 --generate-hashes --no-emit-index-url --no-header requirements/$$name.in -o requirements/$$name.txt; done

clean: ## ends a cluster that was left running and removes what was made here
	@$(PYTHON) e2e/cluster/cluster.py down || true
	rm -rf .venv .venv-router .cluster .coverage .mypy_cache .ruff_cache .pytest_cache .hypothesis
