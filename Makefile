# `make help` lists what there is.
SHELL := /bin/bash
.DEFAULT_GOAL := help

# One target directory and one profile for everything, so that RocksDB is compiled once.
export CARGO_TARGET_DIR ?= $(CURDIR)/target

.PHONY: help
help: ## Lists the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

.PHONY: setup
setup: ## Checks prerequisites and installs what is missing
	@bash tests/setup/prerequisites.sh

.PHONY: test
test: setup check ## Runs everything; what CI runs

.PHONY: check
check: ## The quick loop: format, clippy, unit, golden, property, budgets
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo test --workspace
	@bash tests/setup/budgets.sh
