# make run                try it: a CouchDB and the agent on this machine, no broker, no root; Ctrl-C ends both
#                         COUCHDB_URL: that server, after a question (YES=1: without); os_admin gets a new password there
# make run BROKER=rabbit  with a private RabbitMQ, every command of Trove sent once; then Ctrl-C ends it
# make run ONCE=1         either of them checks everything once and exits: 0 if every step passed
# make test               everything, over a real RabbitMQ and with Python's oslo.messaging and Trove. CouchDB is an in-memory one;
#                         COUCHDB_HOME=DIRECTORY is a release of CouchDB, of which private nodes and clusters are started, and
#                         COUCHDB_URL=http://ADMIN:PASSWORD@HOST:PORT a server that the tests may spoil
# make skipped            which tests the last `make test` skipped, and which did not touch a real CouchDB although there was one
# make test-control-plane only what needs a real Trove: 26.0.0 and 24.1.0, or TROVE="VERSION …"
# make test-control-plane-readme  control-plane/README.md followed to the letter on Trove 22.0.1, 13.0.1 and 12.0.0, or TROVE="VERSION …"
# make chaos              the fault campaign: COMMANDS=10000 among FAULTS=200, by SEED; TRANSIENT=1: oslo's default queues;
#                         SCHEDULE=FILE: a schedule that `make explore WRITE=FILE` wrote, replayed (tests/explore/schedules)
# make explore           every order of events around the delivery core, up to FAULTS=2 (3 take hours), SECONDS=600 for each
#                         scenario, ONLY="chain grant" for some; prints a counterexample as a list of events, WRITE=FILE for
#                         make chaos; REPORT=1 writes the table in docs/adr/0013-delivery-core.md
# make soak               an even load among faults for MINUTES=60; writes what the agents used to docs/reliability.md
# make bench              measures the agent beside the Python one and writes docs/performance.md; ONLY="rpc start" for
#                         parts, CHECK=1 compares with the committed figures, QUICK=1 tries the harness out. 25 min, idle machine
# make dashboard          runs the dashboard's queries against a real Prometheus, and draws docs/pictures/dashboard.svg; 3 min
# make fuzz               the fuzzer, SECONDS=1800 for each target, or for TARGETS="names request"; docs/fuzzing.md
# make mutants            takes out what keeps each guarantee and expects its test to fail: all, or ONLY="NAME …"
# make deb                the Debian package, in target/debian, of an agent with FEATURES="otlp" if you like;
#                         make test-deb: installed, upgraded, purged in a chroot
# make walk               a bare Debian 12, booted, in which the commands of docs/quick-start.md are run; as root. It, test-deb
#                         and test-rpm take PROFILE=dev: the programs of `make build`, as building those of a release takes 4 min;
#                         with BUILD=1 walk also builds the package, as the page says, in another bare Debian 12
# make reproducible       the Debian package, built twice from nothing, in other places: the same bytes
# make rpm-source         what packaging/rpm/*.spec builds from, in target/rpm; make test-rpm: the spec, rpmlint; with BUILD=1 it
#                         builds the programs from those archives, as a distribution does
# make static             programs without any shared library (musl), in target/packaging/x86_64-unknown-linux-musl/programs
# make docs               the documentation site, in target/site; every link and anchor must resolve
# make reference          writes what in docs/errors.md, log.md, configuration.md and cli.md comes from the code and from
#                         docs/advice.toml; cargo test says when they are out of date
# make links              every address outside that the documents name must answer; needs the network
# make test-element       the image element: parsed by diskimage-builder; with BUILD=1 an image is built

CARGO ?= cargo
# Of the programs in a package under test; packaging/build.sh.
export PROFILE
# Test programs note here what they skip; tests/src/ledger.rs.
export COUCHDB_TESTS_LEDGER := $(CURDIR)/target/tests-ledger
# The tests of one program wait more than they compute.
export RUST_TEST_THREADS ?= 4
.PHONY: run test skipped test-rust test-otlp test-control-plane test-control-plane-readme lint fmt chaos explore soak bench dashboard fuzz mutants deps deps-packages build \
	venv deb test-deb reproducible walk rpm-source test-rpm static test-element packages docs reference links
.NOTPARALLEL:

run: $(if $(filter rabbit,$(BROKER)),deps) build
	@$(CARGO) run --quiet -p trove-couchdb-tests --bin tour -- \
		$(if $(filter-out 0,$(ONCE)),--once) $(if $(filter-out 0,$(YES)),--yes) --broker $(or $(BROKER),none)

# `cargo test`, not nextest: the tests of one binary share a RabbitMQ node (tests/src/rabbitmq.rs).
test-rust: deps venv build
	@rm -f "$(COUCHDB_TESTS_LEDGER)"
	@tests/scripts/workspace.sh
	$(MAKE) test-otlp

# An agent with what is not built in by default.
test-otlp:
	$(CARGO) build -p trove-couchdb-agent --features otlp
	$(CARGO) test -p trove-couchdb-tests --features otlp --test otlp

test-control-plane: deps build
	@python3 tests/control_plane/run.py $(TROVE)

skipped:
	@$(CARGO) run --quiet -p trove-couchdb-tests --bin skipped -- "$(COUCHDB_TESTS_LEDGER)"

# Not in `make test`: old Troves want Python 3.7 and 3.8, and 26.0.0 is followed by test-control-plane.
test-control-plane-readme: deps build
	@python3 tests/control_plane/follow.py $(TROVE)

test: test-rust test-control-plane
	@$(MAKE) --no-print-directory skipped
	@echo "make test: everything passed$$(sed 's/^/; only when run once more: /' target/tests-run-again)"

chaos: deps build
	$(CARGO) run -p trove-couchdb-tests --bin chaos -- \
		--commands $(or $(COMMANDS),10000) --faults $(or $(FAULTS),200) $(if $(SEED),--seed $(SEED)) \
		$(if $(filter-out 0,$(TRANSIENT)),--transient) $(if $(SCHEDULE),--schedule $(SCHEDULE))

soak: deps build
	$(CARGO) run -p trove-couchdb-tests --bin chaos -- \
		--soak $(or $(MINUTES),60) --write docs/reliability.md $(if $(SEED),--seed $(SEED))

explore:
	$(CARGO) run --quiet --release -p trove-couchdb-explore -- --faults $(or $(FAULTS),2) \
		--seconds $(or $(SECONDS),600) $(if $(WRITE),--write $(WRITE)) \
		$(if $(filter-out 0,$(REPORT)),--report docs/adr/0013-delivery-core.md) $(ONLY)

# Built one by one: together, cargo would give the agent the features that only the harness needs.
bench: deps venv
	@command -v curl >/dev/null || { echo "curl is missing: upstream's code calls it" >&2; exit 1; }
	$(CARGO) build --release --locked -p trove-couchdb-agent
	$(CARGO) build --release --locked -p in-memory-couchdb
	$(CARGO) build --release --locked -p trove-couchdb-benches
	target/release/bench $(if $(ONLY),--only "$(ONLY)") $(if $(filter-out 0,$(CHECK)),--check) \
		$(if $(filter-out 0,$(QUICK)),--quick)

dashboard: deps build
	$(CARGO) run -p trove-couchdb-benches --bin dashboard

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings

fmt:
	$(CARGO) fmt --all

fuzz:
	@fuzz/run.sh $(or $(SECONDS),1800) $(TARGETS)

mutants: deps venv
	@tests/mutations/run.sh $(ONLY)

deps:
	@tests/scripts/deps.sh

deps-packages:
	@tests/scripts/deps.sh packages

build:
	$(CARGO) build -p trove-couchdb-agent -p trove-couchdb-cli -p trove-couchdb-hostd -p in-memory-couchdb

venv:
	@tests/scripts/venv.sh

packages:
	@FEATURES="$(FEATURES)" packaging/build.sh

deb: packages
	@packaging/deb.sh target/debian

test-deb: packages
	@packaging/tests/deb.sh

reproducible:
	@FEATURES="$(FEATURES)" packaging/tests/reproducible.sh

walk: $(if $(BUILD),,packages) build
	@packaging/tests/walk.sh

rpm-source:
	@packaging/rpm/source.sh target/rpm

test-rpm: $(if $(BUILD),,packages)
	@packaging/tests/rpm.sh

static:
	@FEATURES="$(FEATURES)" packaging/static.sh

reference:
	WRITE_REFERENCE=1 $(CARGO) test --quiet -p trove-couchdb-cli --test reference the_reference

links:
	$(CARGO) test -p trove-couchdb-tests --test documentation -- --ignored

test-element:
	@packaging/tests/element.sh

docs:
	@python=$$(tests/scripts/venv.sh "$(CURDIR)/docs/requirements.txt" "$(CURDIR)/target/docs-venv") && \
		NO_MKDOCS_2_WARNING=1 "$$python" -m mkdocs build --strict -f docs/site/mkdocs.yml
	@echo "make docs: target/site/index.html"
