# make run                try it: a CouchDB and the agent on this machine, no broker, no root; Ctrl-C ends both
# make run BROKER=rabbit  with a private RabbitMQ, every command of Trove sent once; then Ctrl-C ends it
# make run ONCE=1         either of them checks everything once and exits: 0 if every step passed
# make test               everything, over a real RabbitMQ and with Python's oslo.messaging

CARGO ?= cargo
.PHONY: run test lint fmt deps build venv
.NOTPARALLEL:

run: $(if $(filter rabbit,$(BROKER)),deps) build
	@$(CARGO) run --quiet -p trove-couchdb-tests --bin tour -- \
		$(if $(filter-out 0,$(ONCE)),--once) --broker $(or $(BROKER),none)

# `cargo test`, not nextest: the tests of one binary share a RabbitMQ node (tests/src/rabbitmq.rs).
test: deps venv build
	$(CARGO) test --workspace --no-fail-fast
	@echo "make test: everything passed"

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings

fmt:
	$(CARGO) fmt --all

deps:
	@tests/scripts/deps.sh

build:
	$(CARGO) build -p trove-couchdb-agent

venv:
	@tests/scripts/venv.sh
