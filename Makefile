# Every target that needs an environment makes it first; `make setup` is done at once when it is there.
SHELL := /bin/sh
.DEFAULT_GOAL := help
BIN := .venv/bin
PYTHON ?=
PYTHON38 ?=
PYTEST := $(BIN)/python -m pytest
# All tests in so many processes at once, a file of them in one; 0: in this one.
JOBS ?= 2
# More for the program that a target runs: make test ARGS='-k policies', make demo ARGS=--simulate-only
ARGS ?=
# Of `make chaos`: how many jobs, with three faults for ten of them, and what they are drawn from.
N ?= 200
SEED ?= 1

.PHONY: help setup demo test test-fast browser test-jetpack5 check bench bench-loop bench-profiler bench-costs bench-policies bench-live bench-top bench-ui chaos docs screenshots clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z][a-z0-9-]*:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## make .venv with all that is needed, or bring it up to date
	@python=$$(sh tools/find_python.sh "$(PYTHON)") && "$$python" tools/setup.py

demo: setup ## the whole way once: simulate, profile two emulated boards, run jobs, survive a memory kill
	@$(BIN)/jetsched demo $(ARGS)

test: setup browser ## all tests, in two processes; JOBS=0: in this one, e.g. for a debugger
	$(PYTEST) -n $(JOBS) --dist loadfile $(ARGS)

test-fast: setup ## the tests that take seconds
	$(PYTEST) -m "not slow" $(ARGS)

browser: setup ## bring in what the tests of the page need: Chromium, axe-core; a word where it cannot be had
	@$(BIN)/python tools/browser_setup.py

test-jetpack5: setup ## train and infer on a Xavier NX's own versions: Python 3.8, torch 1.12, transformers 4.46
	@PYTHON38="$(PYTHON38)" $(BIN)/python tools/jetpack5.py
	$(PYTEST) -m jetpack5 tests/test_jetpack5.py $(ARGS)

check: setup ## ruff, mypy strict, the import layers, and the wheel
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy tests tools
	$(BIN)/lint-imports
	$(PYTEST) -q tests/test_wheel.py tests/test_layers.py

bench: bench-loop bench-profiler bench-costs bench-policies ## all benchmarks

bench-loop: setup ## jobs per CPU second of the scheduling loop, by policy, beside a bare heap as the bound
	$(BIN)/python tools/bench_loop.py $(ARGS)

bench-profiler: setup ## what sampling costs by source, and the spread of five profiles of this machine
	$(BIN)/python tools/bench_telemetry.py
	@home=$$(mktemp -d) && trap 'rm -rf "$$home"' EXIT && \
	JETSCHED_HOME=$$home $(BIN)/jetsched profile --suite demo --repeat 5

bench-costs: setup ## the cost model's bars beside what is measured; ARGS=--alternatives: other ways
	$(BIN)/python tools/bench_costs.py $(ARGS)

bench-policies: setup ## policies and simulation beside their bars; ARGS=--full: a million jobs; ARGS='gavel braun': some parts
	$(BIN)/python tools/bench_policies.py $(ARGS)

bench-live: setup ## the live cluster beside its bars: latency, throughput, recovery, 10,000 jobs, footprint; ARGS: some parts
	@PYTHONPATH=tests $(BIN)/python tools/bench_live.py $(ARGS)

bench-top: setup ## what `jetsched top` costs with 200 boards; ARGS=--alternatives: and painted by curses and rich
	@PYTHONPATH=tests $(BIN)/python tools/bench_top.py $(ARGS)

chaos: setup ## kill, cut off and fill up a live cluster from a seed, and see that nothing is lost: N=200 SEED=1
	@PYTHONPATH=tests $(BIN)/python tools/chaos.py --jobs $(N) --seed $(SEED) $(ARGS)

bench-ui: setup browser ## the pages beside their bars, 200 boards and 10,000 jobs: first paint, change, CPU, memory; ARGS: some parts
	@PYTHONPATH=tests $(BIN)/python tools/bench_ui.py $(ARGS)

screenshots: setup browser ## the pictures of the docs, from an emulated fleet; ARGS='fleet queue': only these
	@PYTHONPATH=tests $(BIN)/python tools/screenshots.py $(ARGS)

docs: setup ## check that links resolve and that the commands in the docs exist
	$(BIN)/python tools/check_docs.py

clean: ## remove what builds, tools and runs left here (not .venv)
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache jetsched-demo
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
