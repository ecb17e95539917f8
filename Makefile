# Everything is installed into this folder: .bootstrap holds uv, .venv holds Syndic, its tools and the embedded servers.
PYTHON ?= python3
ARGS ?=
TESTS ?= tests
BIN := .venv/bin
UV := .bootstrap/bin/uv
SYNCED := .venv/.synced

# A caller's own virtual environment must not decide where uv installs.
unexport VIRTUAL_ENV
# The tests start hundreds of processes: each would compile everything that it imports again.
unexport PYTHONDONTWRITEBYTECODE
export UV_PROJECT_ENVIRONMENT := $(CURDIR)/.venv
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1

.DEFAULT_GOAL := help
.PHONY: help setup bubblewrap demo demo-outage test check format chaos bench clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(SYNCED) bubblewrap ## install everything (the other targets do it when needed)

demo: setup ## the main job on a neglected example package, offline (ARGS=--keep leaves the stack up)
	@$(BIN)/syndic demo $(ARGS)

demo-outage: setup ## the same with models over HTTP at synthetic prices: a provider fails, a budget is reached
	@$(BIN)/syndic demo --outage $(ARGS)

test: setup ## all tests but the long chaos runs (TESTS=tests/ledger for one folder, ARGS="-k name")
	@$(BIN)/pytest -m "not chaos" -n 2 --dist loadfile --no-loadscope-reorder $(TESTS) $(ARGS)

check: $(SYNCED) ## format, lint, types, layers, lock file
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(UV) lock --check

format: $(SYNCED) ## let ruff format and repair what it can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

chaos: setup ## the long tests: real processes killed and corrupted, whole stories
	@$(BIN)/pytest -m chaos $(TESTS) $(ARGS)

bench: setup ## measure throughput and recovery
	@if [ -f bench/__main__.py ]; then $(BIN)/python -m bench $(ARGS); else echo "There is no benchmark yet." >&2; fi

clean: ## remove what the targets above have made
	rm -rf .venv .bootstrap .pytest_cache .ruff_cache .hypothesis .import_linter_cache dist build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(UV):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Syndic needs Python 3.11 to 3.13: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11" >&2; exit 1; }
	@echo "Installing uv into .bootstrap" >&2
	@$(PYTHON) -m venv .bootstrap >&2
	@.bootstrap/bin/python -m pip install --quiet --disable-pip-version-check "uv>=0.9,<1" >&2

$(SYNCED): pyproject.toml uv.lock | $(UV)
	@echo "Installing Syndic into .venv" >&2
	@$(UV) sync --quiet --locked --python "$$($(PYTHON) -c 'import sys; print(sys.executable)')" >&2
	@touch $@

# Programs of a repository under work run in bubblewrap. Without it they refuse, so say how to get it, and go on.
bubblewrap:
	@if command -v bwrap >/dev/null; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "Installing bubblewrap" >&2; \
	  { apt-get install -y -qq bubblewrap || { apt-get update -qq && apt-get install -y -qq bubblewrap; }; } >/dev/null 2>&1 \
	    || echo "bubblewrap could not be installed: programs of repositories under work will refuse to run" >&2; \
	else echo "bubblewrap is missing (apt install bubblewrap, dnf install bubblewrap):" \
	  "programs of repositories under work will refuse to run" >&2; fi
