# `make` and `make help` list the targets: whatever stands after ## is their help.

SHELL       := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

GO       ?= go
FUZZTIME ?= 10s
COVERAGE ?= coverage.out
STAGE    ?= dev

# All packages but infra, which takes the CDK: hundreds of megabytes, and Node.js to run.
PACKAGES := ./functions/... ./local/... ./shared/...

# The linter is built once for each version and kept outside the checkout, so that a fresh clone does not build it again.
# What it found is kept inside: its cache remembers the paths of the checkout it was filled from.
LINT_VERSION := v2.12.2
LINT_DIR     := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/eddy/golangci-lint/$(LINT_VERSION)
LINT         := $(LINT_DIR)/golangci-lint

# The same goes for the linter of templates.
CFN_LINT_VERSION := 1.58.0
CFN_LINT_DIR     := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/eddy/cfn-lint/$(CFN_LINT_VERSION)
CFN_LINT         := $(CFN_LINT_DIR)/bin/cfn-lint

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: run
run: ## Serve the todo app on this machine (the same as: go run ./local)
	@$(GO) run ./local

.PHONY: test
test: ## Run every test that needs nothing but Go
	@$(GO) test $(PACKAGES)

.PHONY: race
race: ## Run the same tests under the race detector; needs a C compiler
	@CGO_ENABLED=1 $(GO) test -race $(PACKAGES)

.PHONY: lint
lint: $(LINT) ## Check go.mod, go vet, gofmt and the rules of .golangci.yaml
	@$(GO) mod tidy -diff
	@$(GO) vet ./...
	@GOLANGCI_LINT_CACHE=$(CURDIR)/bin/lint-cache $(LINT) run ./...

$(LINT):
	@echo "building golangci-lint $(LINT_VERSION) into $(LINT_DIR): some minutes, once"
	@GOBIN=$(LINT_DIR) $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_VERSION)

$(CFN_LINT):
	@echo "installing cfn-lint $(CFN_LINT_VERSION) into $(CFN_LINT_DIR): once"
	@python3 -m venv --clear $(CFN_LINT_DIR)
	@$(CFN_LINT_DIR)/bin/python -m pip install --quiet --disable-pip-version-check cfn-lint==$(CFN_LINT_VERSION)

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
	@$(GO) test -coverpkg=$$(echo $(PACKAGES) | tr ' ' ,) -coverprofile=$(COVERAGE) $(PACKAGES)
	@$(GO) tool cover -html=$(COVERAGE) -o coverage.html
	@$(GO) tool cover -func=$(COVERAGE) | tail -n 1

# What runs on AWS. The command line of the CDK is pinned in infra/package.json; ARGS is given to it.

export JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION := 20

CDK := infra/node_modules/.bin/cdk

.PHONY: dist
dist: ## Build the one binary of all Lambdas into dist/bootstrap, for arm64
	@GOOS=linux GOARCH=arm64 CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -tags lambda.norpc -ldflags '-s -w' \
	  -o dist/bootstrap/bootstrap ./functions/bootstrap

infra/node_modules/.bin/cdk: infra/package-lock.json
	@npm ci --prefix infra --no-audit --no-fund
	@touch $@

.PHONY: synth
synth: dist infra/node_modules/.bin/cdk ## Write the template of STAGE (dev) into cdk.out; needs Node.js
	@rm -rf cdk.out
	@$(CDK) synth --quiet -c stage=$(STAGE) $(ARGS)
	@echo "cdk.out/eddy-$(STAGE).template.json"

.PHONY: diff
diff: dist infra/node_modules/.bin/cdk ## Show what a deployment of STAGE would change; needs Node.js and AWS credentials
	@$(CDK) diff -c stage=$(STAGE) $(ARGS)

.PHONY: bootstrap
bootstrap: dist infra/node_modules/.bin/cdk ## Prepare an account and region for the CDK, once; needs Node.js and AWS credentials
	@$(CDK) bootstrap -c stage=$(STAGE) $(ARGS)

.PHONY: deploy
deploy: dist infra/node_modules/.bin/cdk ## Deploy STAGE (dev); needs Node.js and AWS credentials
	@$(CDK) deploy -c stage=$(STAGE) $(ARGS)

.PHONY: destroy
destroy: dist infra/node_modules/.bin/cdk ## Remove STAGE (dev); needs Node.js and AWS credentials
	@$(CDK) destroy -c stage=$(STAGE) $(ARGS)

.PHONY: cost
cost: ## Estimate what a month on AWS costs; see: go run ./infra/cost -help
	@$(GO) run ./infra/cost $(ARGS)

.PHONY: bench-lambda
bench-lambda: ## Measure the Lambdas' binary beside a bare one, and the router
	@$(GO) run ./shared/aws/host/bench
	@$(GO) test -run '^$$' -bench BenchmarkRouter -cpu 1 ./shared/aws/fifo

.PHONY: test-infra
test-infra: $(CFN_LINT) infra/node_modules/.bin/cdk ## Test the templates, and lint them; needs Node.js and Python
	@$(GO) test ./infra/...
	@$(MAKE) --no-print-directory synth
	@$(CFN_LINT) $(CFN_LINT_OPTIONS) cdk.out/*.template.json

.PHONY: test-aws
test-aws: infra/node_modules/.bin/cdk ## Deploy to an AWS-compatible server from PyPI and run all suites there; needs Node.js and Python
	@local/localstack/ministack.sh $(MAKE) --no-print-directory test-deployed

.PHONY: test-localstack
test-localstack: ## The same on LocalStack; needs Docker and LOCALSTACK_AUTH_TOKEN
	@local/localstack/localstack.sh $(MAKE) --no-print-directory test-deployed

.PHONY: test-deployed
test-deployed: infra/node_modules/.bin/cdk ## The same at EDDY_AWS_ENDPOINT: a URL, or "aws" for the account of your credentials
	@$(GO) test -p 1 -count 1 -timeout 30m ./shared/aws/... ./local/localstack
