# `make demo` and `make test` do all set-up on a fresh machine. `make help` lists the rest.
SHELL := /bin/sh
PY := .venv/bin/python
FOR ?= 60s
JOBS ?= 2

.PHONY: help setup demo test lint bench fuzz mutation soak crash network lock schema

help:  ## what there is
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

setup:  ## install the product into .venv
	@requirements/setup.sh run

demo: setup  ## the main job on a simulated site: read, correct, sign, store, pull, verify (FOR=60s)
	@.venv/bin/suyuan demo --for $(FOR)

test:  ## all checks and tests (short forms of the long ones), a file at a time in each of JOBS (2) processes
	@requirements/setup.sh test
	@$(MAKE) --no-print-directory lint
	@$(PY) -m pytest -q -n $(JOBS) --dist loadfile

lint:  ## style, types, import rules
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports --no-logo

bench:  ## readings per second, exchanges per second, uncertainty: beside their peers or ceilings
	@requirements/setup.sh test
	@for bench in tests/bench/bench_*.py; do echo "== $$bench"; \
	  $(PY) -m tests.bench.$$(basename $$bench .py) || exit 1; done

fuzz:  ## 100,000 mutated streams per codec; then each target guided by coverage for FOR (60s)
	@requirements/setup.sh test
	@$(PY) tests/drivers/fuzz_codecs.py
	@for target in $$($(PY) -m tests.fuzz.guided --list); do echo "== $$target"; \
	  $(PY) -m tests.fuzz.guided $$target $(FOR:s=) || { code=$$?; [ $$code = 3 ] && break; exit $$code; }; done

crash:  ## kill -9 the agent 50 times; 100,000 simulated power cuts
	@requirements/setup.sh test
	@$(PY) -m pytest -q -m long tests/gateway -s

mutation:  ## over 10,000 random changes to logs, mirrors and bundles, and 2,000 on their way: each refused, with its cause
	@requirements/setup.sh test
	@$(PY) -m tests.rigs.mutations
	@$(PY) -m tests.rigs.live_mutations
	@$(PY) -m tests.rigs.false_answers

network:  ## gateways, broker, platform in network namespaces with loss, delay, partition, broker restarts (root only)
	@requirements/setup.sh test
	@$(PY) -m tests.rigs.bad_network

soak:  ## the long forms of every test
	@requirements/setup.sh test
	@$(PY) -m pytest -q -m long

lock:  ## renew the pinned requirements (needs uv)
	@for kind in run test; do \
	  extra=$$([ $$kind = run ] && echo all || echo dev); \
	  uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header \
	    --extra $$extra --extra build pyproject.toml -o requirements/$$kind.txt; done
