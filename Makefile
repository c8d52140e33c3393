# `make help` lists what there is.
SHELL := /bin/bash
.DEFAULT_GOAL := help

# One target directory and one profile for everything, so that native libraries are compiled once.
export CARGO_TARGET_DIR ?= $(CURDIR)/target

# Property tests try the same cases every time; `make test PROPTEST_RNG_SEED=7` tries others.
export PROPTEST_RNG_SEED ?= 1

.PHONY: help
help: ## Lists the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

.PHONY: setup
setup: ## Checks prerequisites and installs what is missing
	@bash tests/setup/prerequisites.sh

.PHONY: demo
demo: ## Watch interventions happen: everything in one process, with generated customers; ARGS="--seed 8" goes to `waymark demo`
	@bash tests/setup/prerequisites.sh build
	@echo "Building; the first time takes about ten minutes, because RocksDB and librdkafka are compiled from source."
	@cargo build --bin waymark
	@exec "$(CARGO_TARGET_DIR)/debug/waymark" demo $(ARGS)

.PHONY: test
test: setup check-style check-deploy kafka-jars examples-venv ## Everything, on a real Kafka; what CI runs
	WAYMARK_REQUIRE_KAFKA=1 WAYMARK_SIM_SEEDS=200 cargo test --workspace
	@bash tests/setup/budgets.sh

.PHONY: check
check: check-style ## The quick loop, no broker: format, clippy, unit, golden, property, budgets
	WAYMARK_REQUIRE_KAFKA=0 cargo test --workspace --exclude kafka --exclude testkit
	@bash tests/setup/budgets.sh

.PHONY: check-style
check-style:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

.PHONY: check-deploy
check-deploy: ## Validates compose file, alerts and their tests, as far as that goes without a Docker daemon
	docker-compose --profile obs config -q
	promtool check config deploy/prometheus/prometheus.yml >/dev/null
	promtool test rules deploy/prometheus/waymark.rules.test.yml

.PHONY: e2e
e2e: kafka-jars examples-venv ## Against a real Kafka, from jars
	WAYMARK_REQUIRE_KAFKA=1 cargo test -p testkit -p kafka -p intake -p waymark -p chat-service

# The long form takes hours; the short one, without these figures, is a part of `make test` and of `make e2e`.
EVENTS ?= 10000000
FAULTS ?= 200
BROKERS ?= 3
SEED ?= 1

# Off by default: what they need takes minutes to compile.
MODELS := onnx,safetensors

.PHONY: test-models
test-models: ## Transformers of an operator's own: the tests behind the cargo features onnx and safetensors
	cargo clippy -p sentiment --features $(MODELS) --all-targets -- -D warnings
	cargo test -p sentiment --features $(MODELS)
	cargo test -p waymark --features $(MODELS) --test sentiment

.PHONY: sim
sim: ## Both services on a simulated cluster with faults: SEEDS=200 from SEED=1
	WAYMARK_SIM_SEED=$(or $(SEED),1) WAYMARK_SIM_SEEDS=$(or $(SEEDS),200) cargo test -p waymark --test simulation -- --nocapture whatever

.PHONY: oracle
oracle: ## The pattern engine against its definition on random patterns and histories: CASES=10000000 from SEED=1
	WAYMARK_ORACLE_CASES=$(or $(CASES),10000000) WAYMARK_ORACLE_SEED=$(or $(SEED),1) cargo test -p pattern --test oracle -- --nocapture

.PHONY: sim-mutants
sim-mutants: ## Breaks the code on purpose, in every way that is listed, and shows that the simulation notices each
	WAYMARK_SIM_SEEDS=$(or $(SEEDS),80) cargo test -p waymark --features mutants --test simulation -- --nocapture every_mutant

.PHONY: chaos
chaos: kafka-jars ## Faults on real brokers while data flows: EVENTS= FAULTS= SEED= BROKERS=1|3 RATE=, see docs/CHAOS.md
	WAYMARK_REQUIRE_KAFKA=1 WAYMARK_CHAOS_EVENTS=$(EVENTS) WAYMARK_CHAOS_FAULTS=$(FAULTS) WAYMARK_CHAOS_SEED=$(SEED) \
	  WAYMARK_CHAOS_BROKERS=$(BROKERS) WAYMARK_CHAOS_RATE=$(RATE) WAYMARK_CHAOS_ONLY='$(ONLY)' cargo test -p waymark --test chaos -- --nocapture nothing beginning

.PHONY: examples-venv
examples-venv:
	@target/venv-examples/bin/python -c 'import confluent_kafka, fastavro' 2>/dev/null || { \
	  echo "Fetching the Python example's packages."; \
	  python3 -m venv target/venv-examples && target/venv-examples/bin/pip install -q --disable-pip-version-check -r examples/chat-python/requirements.txt; }

.PHONY: kafka-jars
kafka-jars:
	@ls target/kafka/libs/kafka_*.jar >/dev/null 2>&1 || { echo "Fetching Kafka's jars (44 MB)."; mvn -q -f tests/kafka/pom.xml dependency:copy-dependencies; }
