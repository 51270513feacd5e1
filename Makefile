# The project's commands. What is slow to make is kept outside the checkout, so that a fresh one
# starts warm.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/vpce-operator
export CARGO_TARGET_DIR ?= $(CACHE)/target
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
IMAGE ?= vpce-operator:$(VERSION)
SOURCES := Cargo.toml Cargo.lock src core testbed tests
# The end-to-end tests wait most of the time: more of them run at once than there are cores.
export RUST_TEST_THREADS ?= 4

# Always the whole workspace: selecting one package selects other features of its dependencies and
# builds them again.
TESTBED := $(CARGO_TARGET_DIR)/debug/testbed

.PHONY: help demo up bench test build tools generate image first

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: build ## show it: a real API server, three simulated AWS accounts, the operator, a few endpoints
	@$(TESTBED) demo

up: build ## the same with nothing applied, until Ctrl-C
	@$(TESTBED) up

# One scenario: make bench SCENARIOS=repair
bench: build ## measure the release build and fail where a bound is missed (its first build: 10 minutes)
	[ -n "$${VPCE_OPERATOR_BIN:-}" ] || cargo build --locked --release --workspace --bin vpce-operator
	@VPCE_OPERATOR_BIN="$${VPCE_OPERATOR_BIN:-$(CARGO_TARGET_DIR)/release/vpce-operator}" $(TESTBED) bench $(SCENARIOS)

test: first ## formatting, clippy, rustdoc, generated files, the demo, all tests
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --document-private-items
	cargo build --locked --workspace
	$(TESTBED) tools
	$(TESTBED) generate --check
	$(TESTBED) demo
	cargo test --locked --workspace --no-fail-fast 2>&1 | tee $(CARGO_TARGET_DIR)/tests.log
	@awk '/^test result:/ {passed += $$4; failed += $$6} END {print "tests: " passed " passed, " failed " failed"}' \
	    $(CARGO_TARGET_DIR)/tests.log

build: first ## the operator and the testbed
	cargo build --locked --workspace

tools: build ## the programs of the control plane, built with Go where KUBEBUILDER_ASSETS has none
	@$(TESTBED) tools

generate: build ## write what is generated anew: CRDs, RBAC, references, dashboards, the chart's copies
	$(TESTBED) generate

image: ## the container image, named $IMAGE
	docker build --tag $(IMAGE) --build-arg VERSION=$(VERSION) --build-arg REVISION="$$(git rev-parse HEAD)" .

first:
	@if ! [ -d "$(CACHE)/tools" ] || ! [ -d "$(CARGO_TARGET_DIR)/debug" ]; then \
	    echo "First time here: this builds the crates (about 6 minutes on 2 cores) and, with Go, etcd, Kubernetes, helm, Prometheus"; \
	    echo "and what checks the chart and the dashboards (about 20 minutes). Both are kept in $(CACHE) for the next time."; \
	fi
	@mkdir -p "$(CARGO_TARGET_DIR)"
	@# cargo tells what is stale by times, and takes two checkouts for one: what another one built is newer than our sources.
	@if [ "$$(cat "$(CARGO_TARGET_DIR)/checkout" 2> /dev/null)" != "$(CURDIR)" ]; then \
	    find $(SOURCES) -type f -exec touch {} +; \
	    echo "$(CURDIR)" > "$(CARGO_TARGET_DIR)/checkout"; \
	fi
