# Short names for what is done with Meson and Ninja; `make help` lists them.
# BUILD, PREFIX and DESTDIR may be given on the command line.

BUILD ?= build
PREFIX ?= /usr/local
DESTDIR ?=
SECONDS ?= 60
SEED ?= 1

.DEFAULT_GOAL := help
.PHONY: help setup configure build test demo run bench crash powerloss sim fuzz asan tsan valgrind \
	pictures install format clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' Makefile

setup: ## install the packages that are missing (Debian)
	@tools/setup

configure: setup
	@test -f $(BUILD)/build.ninja || { said=$$(meson setup $(BUILD) --prefix=$(PREFIX) 2>&1) || \
		{ echo "$$said" >&2; exit 1; }; echo "The first build takes about a minute."; }

build: configure ## build/lockstepd and build/lockstep, optimised
	@ninja -C $(BUILD) --quiet
	@ln -sf src/server/lockstepd src/cli/lockstep $(BUILD)/

test: build ## every test that never may break
	@tools/setup browser
	@meson test -C $(BUILD) --print-errorlogs --no-rebuild

demo: build ## a morning in the life of a small cluster, in under a minute
	@demo/demo $(BUILD)

run: build ## a server in the foreground, on a directory that stays
	@$(BUILD)/lockstepd --store lmdb:$(BUILD)/data

bench: build ## the figures of the README, against redis-server
	@tools/setup bench
	@bench/run $(BUILD)

crash: build ## kill -9 under load, a few hundred times
	@tests/integration/crash.py $(BUILD) --rounds 300
	@tests/integration/txn_crash.py $(BUILD) --rounds 300

powerloss: build ## power loss at every kind of moment, a few thousand images
	@tests/integration/powerloss.py $(BUILD) --images 5000

sim: build ## simulation for SECONDS from SEED on, and what it reached
	@$(BUILD)/tests/simulation/simulate --seed $(SEED) --cover \
		--seconds $$(($(SECONDS) - $(SECONDS) / 5))
	@$(BUILD)/tests/simulation/simulate_shard --seed $(SEED) --seconds $$(($(SECONDS) / 5 + 1))

fuzz: setup ## every fuzzer for SECONDS, under sanitizers
	@tools/setup fuzz
	@tests/fuzz/run $(SECONDS)

asan: setup ## the tests under address and undefined-behaviour sanitizers
	@tools/sanitize address,undefined

tsan: setup ## the tests under the thread sanitizer
	@tools/sanitize thread

valgrind: build ## the unit tests under valgrind
	@tools/setup valgrind
	@meson test -C $(BUILD) --suite unit --print-errorlogs --no-rebuild -t 20 \
		--wrap 'valgrind --quiet --error-exitcode=1 --leak-check=full'

pictures: build ## the pictures of docs/clocks.md, from the model
	@tools/pictures $(BUILD)/lockstep

install: build ## into PREFIX, below DESTDIR
	@meson configure $(BUILD) --prefix=$(PREFIX) >/dev/null
	@DESTDIR=$(DESTDIR) meson install -C $(BUILD) --quiet
	@test -n "$(DESTDIR)" || test "$$(id -u)" != 0 || ldconfig

format: ## put every source file into the project's format
	@git ls-files '*.c' '*.h' | xargs clang-format -i

clean: ## remove what was built
	@rm -rf build build-*
