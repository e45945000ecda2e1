# The project's commands; `make` alone lists them. Needs GNU make, bash and Python 3.11 or newer.
#   make run PORT=8600           another port
#   make test PYTHON=python3.12  another Python (for a new environment: make clean first)
#   make test ARGS="-k spectrum" more options for pytest (or for the benchmark)

SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
PEER := .venv-peer
PY := $(VENV)/bin/python
PORT ?= 8501
ARGS ?=
PYTHON ?=

# Names tried in this order when PYTHON is not given.
PYTHONS := python3 python3.13 python3.12 python3.11 python
SUITABLE := import sys; sys.exit(not (3, 11) <= sys.version_info[:2])

.PHONY: help run test bench peer check clean

help: ## this list
	@echo "make run     start the dashboard at http://localhost:$(PORT)"
	@echo "make test    run the tests"
	@echo "make bench   measure how long the main steps take, beside neural-tangents"
	@echo "make peer    install neural-tangents beside, to be measured against"
	@echo "make check   look at style, formatting and types"
	@echo "make clean   remove the environment and the tools' caches (results and data stay)"
	@echo "The first call of each creates the environment $(VENV) and installs what is needed."

run: $(VENV)/.app
	@exec $(PY) -m pages.ui.serve --server.port $(PORT) $(ARGS)

test: $(VENV)/.dev
	@$(PY) -m pytest $(ARGS)

bench: $(VENV)/.dev $(if $(ARGS),$(if $(filter kernels features empirical,$(ARGS)),peer),peer)
	@$(PY) -m bench $(ARGS)

# Without it the benchmark says so and goes on.
peer:
	@$(MAKE) --no-print-directory $(PEER)/.peer || echo "neural-tangents could not be installed here; going on without it" >&2

check: $(VENV)/.dev
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy
	@$(PY) -m pip check

clean:
	rm -rf $(VENV) $(PEER) .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

# The environment. What is installed is installed again only when the lists have changed.

$(PY):
	@for python in $(or $(PYTHON),$(PYTHONS)); do \
	  if "$$python" -c '$(SUITABLE)' > /dev/null 2>&1; then \
	    echo "Creating $(VENV) with $$("$$python" --version)"; \
	    "$$python" -m venv $(VENV) && exit 0; \
	    rm -rf $(VENV); \
	    echo "$$python cannot create an environment; on Debian and Ubuntu: apt install python3-venv" >&2; \
	    exit 1; \
	  fi; \
	done; \
	echo "This needs Python 3.11 or newer; tried: $(or $(PYTHON),$(PYTHONS)). Install one, or name it: make PYTHON=/path/to/python3.11" >&2; \
	exit 1

$(VENV)/.app: requirements.txt | $(PY)
	$(PY) -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/.dev: requirements-dev.txt requirements.txt | $(PY)
	$(PY) -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

# neural-tangents needs an old jax, which needs Python 3.11 or 3.12.
$(PEER)/.peer: bench/peer/requirements.txt | $(PY)
	@echo "Installing neural-tangents in $(PEER)"
	$(PY) -c 'import sys; sys.exit(sys.version_info[:2] > (3, 12))'
	test -x $(PEER)/bin/python || $(PY) -m venv $(PEER)
	$(PEER)/bin/python -m pip install --quiet --disable-pip-version-check -r bench/peer/requirements.txt
	@touch $@
