# make demo   set up and serve the app        make test   set up and run the tests
# make test-all  the slow ones too: a crowd of clients, a real server, a Space's start
# make bench  speed, as ratios in one run     make lint   ruff          make setup  only set up
# make record the page's recorded examples, again     make replay-site  a folder of replays for a static host
PYTHON ?= $(shell for p in python3 python3.11 python3.12; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null && echo $$p && break; done || true)
PORT ?= 7860
HOST ?= 127.0.0.1
PYTEST ?=
VENV_PYTHON = .venv/bin/python

.PHONY: demo test test-all setup setup-dev bench record replay-site lint clean
.DEFAULT_GOAL := demo

setup: python-found
	@$(PYTHON) .ci/setup.py

setup-dev: python-found
	@$(PYTHON) .ci/setup.py --dev

.PHONY: python-found
python-found:
	@test -n "$(PYTHON)" || { echo "setup: no Python 3.11 or 3.12 found. Install one (for instance python3.11) and run: make demo PYTHON=/path/to/python3.11" >&2; exit 1; }

demo: setup
	@$(VENV_PYTHON) -m demo.boot --host $(HOST) --port $(PORT)

test: setup-dev
	@$(VENV_PYTHON) -m pytest $(PYTEST)

test-all: setup-dev
	@$(VENV_PYTHON) -m pytest -m "not gpu and not network" $(PYTEST)

bench: setup-dev
	@$(VENV_PYTHON) -m bench

record: setup
	@$(VENV_PYTHON) -m demo.record

replay-site: setup
	@$(VENV_PYTHON) -m demo.replay_site

lint: setup-dev
	@$(VENV_PYTHON) -m ruff check . && $(VENV_PYTHON) -m ruff format --check . 

clean:
	rm -rf .venv .pytest_cache .ruff_cache .hypothesis
