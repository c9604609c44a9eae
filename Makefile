# Two commands for a newcomer: `make demo` and `make test`. `make help` lists the rest.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DEFAULT_GOAL := help

DIR ?= demo
RECORDS ?=
ONCE ?=
FUZZ_SECONDS ?= 60
SOAK_ROUNDS ?= 500
SOAK_CUTS ?= 20
SOAK_SCHEDULES ?= 1000000
TARGET := $(or $(CARGO_TARGET_DIR),target)
PECHAT := $(TARGET)/release/pechat

# command, file or module:package, as Debian 12 names them; py.NAME is a module of Python, jar.NAME a library of Java
BUILD_NEEDS := cc:build-essential
DEMO_NEEDS := softhsm2-util:softhsm2 chronyd:chrony openssl:openssl python3:python3 curl:curl \
              /usr/share/zoneinfo/Europe/Sofia:tzdata
TEST_NEEDS := strace:strace osslsigncode:osslsigncode go:golang-go \
              /usr/share/gocode/src/golang.org/x/mod:golang-golang-x-mod-dev jarsigner:default-jdk-headless \
              jar.bcpkix:libbcpkix-java systemd-analyze:systemd py.ensurepip:python3-venv \
              xfs_io:xfsprogs mkfs.ext4:e2fsprogs mount:mount
# Python peers of the interop tests, in a virtual environment of their own
VENV := $(TARGET)/interop-venv
PEERS := rfc3161-client==1.0.9 requests pyhanko==0.38.0 pyhanko[async-http] pyhanko-cli

define install
missing=()
for need in $(1); do
  have=$${need%%:*}
  case $$have in
    /*) test -e "$$have" || missing+=("$${need##*:}") ;;
    jar.*) [[ -e /usr/share/java/$${have#jar.}.jar ]] || missing+=("$${need##*:}") ;;
    py.*) python3 -c "import $${have#py.}" 2>/dev/null || missing+=("$${need##*:}") ;;
    *) PATH="$$PATH:/usr/sbin:/sbin" command -v "$$have" >/dev/null || missing+=("$${need##*:}") ;;
  esac
done
if (( $${#missing[@]} )); then
  line="apt-get install -y --no-install-recommends $${missing[*]}"
  if (( $$(id -u) == 0 )); then
    apt-get update -q && DEBIAN_FRONTEND=noninteractive $$line
  else
    echo "missing; install with: sudo $$line" >&2
    exit 1
  fi
fi
endef

.PHONY: help setup setup-demo build demo demo-stop test lint unit interop fuzz deny docs bench bench-peers soak

help: ## This list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## (.*)/  make \1\t\2/' | expand -t 20

setup: ## Install what demo and tests need (as root), or print the line that does
	@$(call install,$(BUILD_NEEDS) $(DEMO_NEEDS) $(TEST_NEEDS))
	if [[ "$$(cat $(VENV)/peers 2>/dev/null)" != "$(PEERS)" ]]; then
	  { python3 -m venv $(VENV) && $(VENV)/bin/pip install --quiet --disable-pip-version-check $(PEERS) &&
	    echo "$(PEERS)" > $(VENV)/peers; } || {
	    rm -rf $(VENV)
	    echo "the Python peers could not be installed; their interop tests say \"skipped\", or fail in CI"
	  }
	fi

setup-demo:
	@$(call install,$(BUILD_NEEDS) $(DEMO_NEEDS))

build: ## Build the release program
	@cargo build --release --locked --bin pechat

demo: setup-demo build ## Everything on a throw-away appliance (DIR=demo RECORDS=file.jsonl ONCE=1)
	@$(PECHAT) demo --dir "$(DIR)" $(if $(RECORDS),--records "$(RECORDS)") $(if $(ONCE),--once)

demo-stop: ## End the processes of the demonstration in DIR, and nothing else
	@test -x $(PECHAT) || { echo "no demonstration was built here"; exit 0; }
	$(PECHAT) demo --stop --dir "$(DIR)"

test: setup lint unit docs deny fuzz ## Everything the project checks

lint:
	@cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings

unit: ## Unit, property, integration, interop and crash tests
	@cargo test --workspace --locked

interop: ## Only what strangers' programs say about our output
	@cargo test --locked --test interop -- --nocapture

docs:
	@RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked --quiet
	echo "documentation builds without a warning"

deny: ## Licences, sources and duplicates of every dependency
	@if cargo deny --version >/dev/null 2>&1; then
	  cargo deny --offline --locked check bans licenses sources
	  cargo deny --locked check advisories || echo "advisories: the database was not reachable or lists something; see above"
	else
	  echo "cargo deny: skipped; install it with: cargo install --locked cargo-deny"
	fi

fuzz: ## FUZZ_SECONDS in total over every parser of outside bytes
	@cargo fuzz --version >/dev/null 2>&1 || cargo install --locked cargo-fuzz
	targets=($$(cd tests/fuzz/fuzz_targets && ls *.rs | sed 's/\.rs$$//'))
	each=$$(( $(FUZZ_SECONDS) / $${#targets[@]} )); (( each > 0 )) || each=1
	for target in "$${targets[@]}"; do
	  seeds=$$(test -d "tests/vectors/$$target" && echo "tests/vectors/$$target" || true)
	  mkdir -p "$(TARGET)/fuzz-corpus/$$target"
	  echo "fuzz $$target: $$each s"
	  cargo fuzz run --fuzz-dir tests/fuzz --target-dir "$(TARGET)/fuzz" --sanitizer none "$$target" \
	    "$(TARGET)/fuzz-corpus/$$target" $$seeds -- -max_total_time=$$each -max_len=65536 -timeout=5 \
	    -rss_limit_mb=1024 -verbosity=0 -print_final_stats=0
	done

bench: ## One line a figure, with limit, ratio and this disk's fsync
	@cargo build --release --locked -p hsm-test
	cargo bench --locked --bench appliance

bench-peers: ## Tessera's POSIX log on the same disk in the same run, ratio to our seals
	@cargo build --release --locked -p hsm-test
	program=$$(realpath -m $(TARGET))/peers
	PATH="$$PATH:/usr/local/go/bin"
	for go in $$(type -ap go); do
	  if (cd benches/peers && GOTOOLCHAIN=local $$go build -o "$$program" .); then export PECHAT_PEERS=$$program; break; fi
	done
	cargo bench --locked --bench appliance -- peers

soak: ## SOAK_ROUNDS kill -9 of either process, SOAK_CUTS power cuts (as root), SOAK_SCHEDULES simulated crash schedules
	@PECHAT_CRASH_ROUNDS=$(SOAK_ROUNDS) cargo test --release --locked --test crash -- --nocapture
	PECHAT_POWER_CUTS=$(SOAK_CUTS) cargo test --release --locked --test powercut -- --nocapture
	SCHEDULES=$(SOAK_SCHEDULES) cargo test --release --locked --test simulation no_schedule -- --nocapture
