# Everything that a person types is here; what it takes more than a line for is
# in scripts/. `make` alone lists the targets.

SHELL := /bin/sh
.DEFAULT_GOAL := help

COMMANDS := millrace ingester enricher indexer query
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null)
LDFLAGS  := -X github.com/millrace/millrace/libs/svc.version=$(VERSION)

# Arguments of `make up`, parts of `make bench`, packages of `make test`.
ARGS  ?=
BENCH ?= all
PKG   ?= work

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: up
up: build ## build and run everything on this machine; make up ARGS="--demo"
	@exec bin/millrace up $(ARGS)

.PHONY: build
build: engine ## build bin/millrace and the four services, and install the ClickHouse engine
	@for c in $(COMMANDS); do \
		echo "building bin/$$c"; \
		go build -trimpath -ldflags '$(LDFLAGS)' -o bin/$$c ./services/$$c/cmd/$$c || exit 1; \
	done

.PHONY: engine
engine: ## install the ClickHouse engine into .engine/ (npm package, once)
	@scripts/install-engine

.PHONY: test
test: engine ## run all tests with the race detector, shuffled; a skipped one is a failure
	@scripts/test $(PKG)

.PHONY: bench
bench: build ## measure the whole way on this machine; make bench BENCH=way-nats,latency, or growth
	@go run ./libs/testkit/bench --parts $(BENCH) $(ARGS)

.PHONY: bench-peers
bench-peers: build ## measure Bento beside Millrace, in one run; builds it first, which takes minutes
	@scripts/build-peers
	@go run ./libs/testkit/bench --parts peers $(ARGS)

.PHONY: chaos
chaos: engine ## break things while events flow and count; make chaos DURATION=10m SEED=7 FAULTS=twins BROKEN=all
	@go build -o bin/chaos ./libs/testkit/chaos
	@bin/chaos $(if $(DURATION),--duration $(DURATION)) $(if $(SEED),--seed $(SEED)) $(if $(FAULTS),--faults $(FAULTS)) \
		$(if $(EVERY),--every $(EVERY)) $(if $(BROKEN),--broken $(BROKEN)) $(ARGS)

.PHONY: soak
soak: engine ## ten minutes in which small streams are turned over fifty times
	@go test ./libs/testkit/chaos -run LongLife -v -timeout 30m -turns 50

.PHONY: check
check: lint ## what must hold before a commit, but the tests: lint, module rules
	@scripts/check-modules

.PHONY: lint
lint: ## run golangci-lint on all modules
	@scripts/golangci-lint

.PHONY: fmt
fmt: ## format all modules and mend what the linters can
	@scripts/golangci-lint --fix

.PHONY: clean
clean: ## remove what build made; the engine and data stay
	@rm -rf bin
