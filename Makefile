GO ?= go
# The commit is stamped in only where git will tell it.
VCS := $(shell git rev-parse HEAD >/dev/null 2>&1 && echo true || echo false)

.PHONY: build test demo bench micro soak setup clean

build:
	CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=$(VCS) -o bin/permafrost ./cmd/permafrost

# PostgreSQL, Redis and OpenSSH for the tests; does nothing where they are there.
setup:
	@sh internal/sandbox/setup.sh

test: setup
	@unformatted=$$($$($(GO) env GOROOT)/bin/gofmt -l .) && test -z "$$unformatted" || \
		{ echo "gofmt these: $$unformatted"; exit 1; }
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	$(GO) test -race -timeout 9m ./...
	# Each byte of a repository and of its keys: with the race detector only some are tried.
	$(GO) test -timeout 9m -run Mangled ./repo
	# Ten thousand interleavings of snapshots, prunes, forgets and checks, likewise.
	$(GO) test -timeout 9m -run 'Simulat|Model' ./repo

# A small Mastodon instance, backed up, aged, restored and compared.
demo: setup build
	@$(GO) build -buildvcs=false -o bin/demo ./internal/sandbox/demo
	@exec bin/demo

# permafrost beside restic, borg and rsync, as far as they are there: make bench SCALE=0.1 NIGHTS=3
# MODE=run|growth|latency|files|all, see internal/sandbox/bench.
SCALE ?= 1
NIGHTS ?= 3
MODE ?= run
bench: setup build micro
	@$(GO) build -buildvcs=false -o bin/bench ./internal/sandbox/bench
	@exec bin/bench -scale $(SCALE) -nights $(NIGHTS) -mode $(MODE)

# More interleavings than a test has time for: make soak SIMULATE=1000000
SIMULATE ?= 200000
soak:
	$(GO) test -timeout 0 -v -run 'TestSimulate$$' ./repo -simulate $(SIMULATE)

# Each stage by itself.
micro:
	@$(GO) test -run '^$$' -bench . -benchtime 0.5s ./chunk ./repo ./snapshot ./source/media ./internal/sftpstore | grep -E '^(Benchmark|pkg:|FAIL|ok)'

clean:
	rm -rf bin
