# What people and CI type. `make help` lists it.

SHELL := bash
VENV ?= .venv
# Further arguments: of the command for `run`, of pytest for the tests.
ARGS ?=
# How many tests of `make test` run at a time: most of them wait for processes, clocks and sockets.
WORKERS ?= 2
BIN := $(VENV)/bin
export VENV PYTHON

.DEFAULT_GOAL := help
.PHONY: run demo-model test screenshots test-slow check format docs bench bench-peers helm-check image-check audit clean help

run: ## Install what is missing, then run Redis, the engine and the gateway on this machine
	@bash tools/install.sh
	@$(BIN)/python -m gateway serve $(ARGS)

demo-model: ## Train the demo model anew (ten minutes of a GPU) and put it in its place
	@bash tools/install.sh dev
	$(BIN)/python -m tools.train_demo $(ARGS)

test: ## Run the tests, without the slow ones
	@bash tools/install.sh dev
	$(BIN)/python -m pytest -m "not slow" -n $(WORKERS) $(ARGS)

screenshots: ## Take the README's pictures of the pages anew; needs Chromium (tools/browser.sh)
	@bash tools/install.sh dev
	SCREENSHOTS=docs/images $(BIN)/python -m pytest tests/engine/test_screenshots.py

test-slow: ## Run the slow tests: long proofs, and each property with all its examples
	@bash tools/install.sh dev
	$(BIN)/python -m pytest -m "slow or hypothesis" --hypothesis-profile=full $(ARGS)

check: ## Lint, formatting, types and the architecture's rules
	@bash tools/install.sh dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy --strict
	$(BIN)/python -m pytest tests/architecture

format: ## Rewrite the code as `check` wants it
	@bash tools/install.sh dev
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

docs: ## Rewrite the generated tables of the README
	@bash tools/install.sh dev
	$(BIN)/python tools/tables.py

bench: ## Measure what each layer of the gateway costs, in under two minutes
	@bash tools/install.sh dev
	@$(BIN)/python -m tests.bench.layers $(ARGS)

bench-peers: ## Measure vllm-router, smg and LiteLLM beside ours; installs them into .bench/
	@bash tools/install.sh dev
	@$(BIN)/python -m tests.bench.peers $(ARGS)

helm-check: ## Check the Helm chart; installs helm and the validators into .helm-check/
	@bash tools/install.sh dev
	$(BIN)/python tools/helm_check.py $(ARGS)

image-check: ## Build the gateway's image and the engine's steps with podman, and test them
	@bash tools/install.sh dev
	$(BIN)/python tools/image_check.py $(ARGS)

audit: ## Ask PyPI's advisories about every locked release; installs pip-audit into .audit/
	@bash tools/install.sh dev
	$(BIN)/python tools/audit.py

clean: ## Remove the virtual environment and everything that tools left behind
	rm -rf $(VENV) .bench .helm-check .audit build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
