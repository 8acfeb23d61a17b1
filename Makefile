# The commands of this project. `make test` is the whole check, on a fresh Debian machine with a Rust toolchain too.

.DEFAULT_GOAL := help

# Where cargo builds, if that is not the usual place: cargo reads the same variable.
CARGO_TARGET_DIR ?= target
# The acceptance tests run a copy, so that a build beside them does not pull the binary away.
WSGATE := tests/acceptance/out/wsgate

.PHONY: help setup fmt lint unit search binary acceptance test bench clean

help: ## Say what there is
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

setup: ## Install what the tests need and is missing: Debian packages, and Python's and Node's into this folder
	@ci/setup

fmt: ## Check the form of the code
	cargo fmt --all --check

lint: ## Check the code with clippy, every warning an error
	cargo clippy --workspace --all-targets --locked -- -D warnings

# nextest gives each test a process of its own; where it is missing, cargo's own runner does. The property tests draw from
# a fixed seed, so that a commit's verdict is the same every time; `make search` draws anew.
unit: export PROPTEST_RNG_SEED ?= 1
unit: ## Run the Rust tests
	@if cargo nextest --version >/dev/null 2>&1; \
	then set -x; cargo nextest run --workspace --locked; \
	else set -x; cargo test --workspace --locked; fi

search: ## Run the property tests on CASES (20000) random cases each, other ones every time
	PROPTEST_CASES=$(or $(CASES),20000) cargo test --workspace --locked --lib -- policy session

# Of the whole workspace, so that what the Rust tests built is used again.
binary:
	cargo build --workspace --locked --bin wsgate
	@install -D $(CARGO_TARGET_DIR)/debug/wsgate $(WSGATE)

acceptance: setup binary ## Run the tests with real clients, backends, browser and Prometheus; ARGS="-k chat" chooses some
	WSGATE=$(abspath $(WSGATE)) .venv/bin/python -m pytest tests/acceptance $(ARGS)

test: ## Run all of these, one after the other
	@ci/test

clean: ## Remove all that was built here or installed into this folder
	rm -rf target .venv .tools tests/acceptance/out tests/acceptance/node/node_modules
	find tests examples -name __pycache__ -prune -exec rm -rf {} + -o -name .pytest_cache -prune -exec rm -rf {} +

bench: ## Measure beside a bare relay, nginx and HAProxy (where installed); BENCH_QUICK=1 takes a minute instead of five
	cargo build --release --locked
	cargo build --release --locked --package wsgate-bench
	$(CARGO_TARGET_DIR)/release/bench --wsgate $(CARGO_TARGET_DIR)/release/wsgate $(if $(filter 1,$(BENCH_QUICK)),--quick)
