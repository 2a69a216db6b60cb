# `make` and `make help` list the targets: whatever stands after ## is their help.

SHELL       := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

GO       ?= go
FUZZTIME ?= 10s
COVERAGE ?= coverage.out

# The linter is built once for each version and kept outside the checkout, so that a fresh clone does not build it again.
# What it found is kept inside: its cache remembers the paths of the checkout it was filled from.
LINT_VERSION := v2.12.2
LINT_DIR     := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/eddy/golangci-lint/$(LINT_VERSION)
LINT         := $(LINT_DIR)/golangci-lint

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: run
run: ## Serve the todo app on this machine (the same as: go run ./local)
	@$(GO) run ./local

.PHONY: test
test: ## Run every test; needs nothing but Go
	@$(GO) test ./...

.PHONY: race
race: ## Run every test under the race detector; needs a C compiler
	@CGO_ENABLED=1 $(GO) test -race ./...

.PHONY: lint
lint: $(LINT) ## Check go.mod, go vet, gofmt and the rules of .golangci.yaml
	@$(GO) mod tidy -diff
	@$(GO) vet ./...
	@GOLANGCI_LINT_CACHE=$(CURDIR)/bin/lint-cache $(LINT) run ./...

$(LINT):
	@echo "building golangci-lint $(LINT_VERSION) into $(LINT_DIR): some minutes, once"
	@GOBIN=$(LINT_DIR) $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_VERSION)

.PHONY: fuzz
fuzz: ## Fuzz each target for FUZZTIME (10s)
	@grep -rHoE --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*' . | sed 's/func //' | sort | \
	  while IFS=: read -r file target; do \
	    echo "== $$target in $$(dirname $$file)"; \
	    $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$(dirname $$file); \
	  done

.PHONY: bench
bench: ## Measure every target of performance as a ratio to a bare baseline
	@$(GO) run ./local/bench

.PHONY: cover
cover: ## Write the coverage of all tests over all packages to coverage.html
	@$(GO) test -coverpkg=./... -coverprofile=$(COVERAGE) ./...
	@$(GO) tool cover -html=$(COVERAGE) -o coverage.html
	@$(GO) tool cover -func=$(COVERAGE) | tail -n 1
