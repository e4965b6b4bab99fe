GO ?= go
# The commit is stamped in only where git will tell it.
VCS := $(shell git rev-parse HEAD >/dev/null 2>&1 && echo true || echo false)

# Nothing that a test writes has to outlive it: its files lie in memory where that has room, so that nothing waits for a disk. Tests
# that drop root's rights write there too. The name is short, since a socket's path has 107 bytes.
SCRATCH = $(shell grep -q ' /dev/shm [^ ]* [^ ]*noexec' /proc/mounts || \
	df -Pk /dev/shm 2>/dev/null | awk '$$6 == "/dev/shm" && $$4 > 4000000 { exit 1 }' || \
	{ mkdir -p /dev/shm/pf && test -O /dev/shm/pf && chmod 1777 /dev/shm/pf && echo /dev/shm/pf; } 2>/dev/null)
test test-commands test-race test-whole test-servers test-compose fuzz soak: export TMPDIR := $(or $(TMPDIR),$(SCRATCH),/tmp)

.PHONY: build test lint test-commands test-race test-whole test-compose test-servers fuzz soak vuln demo bench micro setup clean

build:
	CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=$(VCS) -o bin/permafrost ./cmd/permafrost

# PostgreSQL, Redis and OpenSSH for the tests; does nothing where they are there.
setup:
	@sh internal/sandbox/setup.sh

test: setup
	@unformatted=$$($$($(GO) env GOROOT)/bin/gofmt -l .) && test -z "$$unformatted" || \
		{ echo "gofmt these: $$unformatted"; exit 1; }
	@$(MAKE) --no-print-directory -j3 lint test-commands test-race test-whole

lint:
	$(GO) vet ./...
	$(GO) tool staticcheck ./...

# The commands as they are run: each test waits for processes, and others run beside it.
test-commands:
	$(GO) test -timeout 40m -parallel 4 ./cmd/...

# What goes over every case there is, on one goroutine or with goroutines that other tests show it: the race detector has nothing to
# see in it.
SINGLE := TestModel|TestEveryLossIsNoticed|TestLossesOfWeaker|TestTablesAreAMap|TestSaidOften|TestVeryManyBreaks|TestHostileObjects|$\
	TestSimulationRepeats|TestHostileHistoriesRepeat|TestHostileHistoriesOfWeaker|TestCrashesOnFullStorage|TestSpoiltLocalFiles|$\
	TestLocalIndexDamaged|TestWriteOverDamagedIndex|TestRecipeRoundTrip|TestTreeNoticesWrongBlobs|TestMatchAges|TestListingOfExtremes
# And of this the race detector sees a part.
PARTLY := TestMangled|TestCrashPoints|TestLyingStore$$|TestSimulate$$|TestHostileHistories$$|TestQuirks$$

# The race detector watches every access to memory but those of these packages: each computes on numbers of its own, and what hands it
# them, and takes the result, is watched. They would be a third of what a test takes.
NUMBERS := crypto/ecdh crypto/internal/fips140/edwards25519/... crypto/internal/fips140/mlkem crypto/internal/fips140/sha3 filippo.io/hpke/... \
	filippo.io/age/internal/bech32 github.com/klauspost/compress/fse github.com/klauspost/compress/huff0 github.com/restic/chunker
RACE := -race $(NUMBERS:%=-gcflags=%=-race=false)

# Goroutines are watched where they are many: a command is run by itself, but for its nights and its load.
test-race:
	$(GO) test $(RACE) -timeout 40m -skip '$(SINGLE)' $$($(GO) list ./... | grep -v /cmd/)
	$(GO) test $(RACE) -timeout 40m -run 'Nights|Load' ./cmd/...

# Each byte of a repository and of its keys, each operation that fails, ten thousand interleavings, every state of the models,
# three thousand histories, each quirk of a server.
test-whole:
	$(GO) test -timeout 40m -run '$(SINGLE)|$(PARTLY)' ./repo/... ./internal/sftpstore ./snapshot ./snapshot/stream ./snapshot/backup
	$(GO) test -timeout 40m -run 'TestNothingGoodIsPushedOut$$' ./snapshot/retain
	@$(MAKE) --no-print-directory fuzz FUZZTIME=500x FUZZBUILD=-gcflags=permafrost/...=-d=libfuzzer

# Every SFTP server of README's table, and each quirk of others. It takes root, for some of them.
test-servers: setup
	@sh internal/sandbox/setup-servers.sh
	$(GO) test -timeout 40m -v -run 'TestServers$$' ./cmd/permafrost -servers

# An instance in a Compose project, on a real container engine; fails where none answers. RECORD=1 writes what docker answers to
# cmd/permafrost/testdata, by which TestComposeRecorded goes.
test-compose: setup
	@docker info >/dev/null || { echo "no container engine answers: the Debian packages are docker.io and docker-compose"; exit 1; }
	$(GO) vet -tags compose ./cmd/permafrost
	$(GO) test -tags compose -timeout 20m -run 'TestCompose(Redis)?$$' ./cmd/permafrost $(if $(RECORD),-record)

# Every fuzz target in turn, and how often each ran: make fuzz FUZZTIME=10m. What is found is left in testdata/fuzz. Of an
# input that reaches something new not much time is spent on making it small: that would be most of a
# short run. Go takes its own deadline for a failure now and then. By default coverage of all packages guides it; FUZZBUILD may say that
# that of our own does, which saves building every dependency anew.
FUZZTIME ?= 1m
FUZZBUILD ?= -fuzz=Fuzz
fuzz:
	@set -e; bin=$$(mktemp -d); trap 'rm -rf $$bin' EXIT; cache=$$($(GO) env GOCACHE)/fuzz; \
	for dir in $$(grep -rl '^func Fuzz' --include='*_test.go' . | xargs -n1 dirname | sort -u); do \
		$(GO) test -c $(FUZZBUILD) -o $$bin/test $$dir; \
		for target in $$(cat $$dir/*_test.go | sed -n 's/^func \(Fuzz[A-Za-z]*\).*/\1/p'); do \
			(cd $$dir && $$bin/test -test.run='^$$' -test.fuzz="^$$target\$$" -test.fuzztime=$(FUZZTIME) -test.parallel=1 \
				-test.fuzzminimizetime=20x -test.fuzzcachedir=$$cache/$$dir) >$$bin/log 2>&1 || \
				grep -q '^ *context deadline exceeded$$' $$bin/log || { cat $$bin/log; exit 1; }; \
			echo "$$dir $$target: $$(sed -n 's/.*execs: \([0-9]*\).*/\1/p' $$bin/log | tail -1) executions"; \
		done; \
	done

# A small Mastodon instance, backed up, aged, restored and compared.
demo: setup build
	@$(GO) build -buildvcs=false -o bin/demo ./internal/sandbox/demo
	@exec bin/demo

# permafrost beside restic, borg and rsync, as far as they are there: make bench SCALE=0.1 NIGHTS=3
# MODE=run|growth|latency|files|wayback|all, see internal/sandbox/bench. BEFORE is the path of an earlier permafrost.
SCALE ?= 1
NIGHTS ?= 3
MODE ?= run
BEFORE ?=
bench: setup build micro
	@$(GO) build -buildvcs=false -o bin/bench ./internal/sandbox/bench
	@exec bin/bench -scale $(SCALE) -nights $(NIGHTS) -mode $(MODE) -before "$(BEFORE)"

# What a test has less time for: interleavings, processes that write to one repository at once, wounds of each object,
# hostile manifests, processes that are killed and halted, a server that lies. make soak SIMULATE=1000000 LOAD=1h KILLS=2000
SIMULATE ?= 200000
LOAD ?= 5m
KILLS ?= 300
PLANS ?= 20000
MANIFESTS ?= 100000
LIES ?= 10000
HISTORIES ?= 20000
soak: setup
	$(GO) test -timeout 0 -v -run 'TestHostilePlans$$' ./snapshot/restore -plans $(PLANS)
	$(GO) test -timeout 0 -v -run 'TestHostileManifests$$' ./cmd/permafrost -manifests $(MANIFESTS)
	$(GO) test -timeout 0 -v -run 'TestHostileCommands$$|TestHostileSettings$$' ./cmd/permafrost -snapshots 1200 -settings 10000
	$(GO) test -timeout 0 -v -run 'TestSimulate$$' ./repo -simulate $(SIMULATE)
	$(GO) test -timeout 0 -v -run 'TestHostileHistories$$' ./repo -hostile-histories $(HISTORIES)
	$(GO) test -timeout 0 -v -run 'TestLoad$$|TestTogether$$' ./cmd/permafrost -load $(LOAD)
	$(GO) test -timeout 0 -v -run 'TestHostileStorage$$' ./cmd/permafrost -hostile
	$(GO) test -timeout 0 -v -run 'TestProcesses$$/struck' ./cmd/permafrost -kills $(KILLS)
	$(GO) test -timeout 0 -v -run 'TestLiesAtRandom$$' ./internal/sftpstore -lies $(LIES)
	$(GO) test -timeout 0 -v -run 'TestIntruder$$' ./cmd/permafrost -intrusions 1000
	$(GO) test -timeout 0 -v -run 'TestHostileRestores$$' ./snapshot/restore -restores 100000
	$(GO) test -timeout 0 -v -run 'TestNothingGoodIsPushedOut$$' ./snapshot/retain -histories 100000

# Known vulnerabilities in what is called; asks vuln.go.dev.
vuln:
	$(GO) run golang.org/x/vuln/cmd/govulncheck@v1.1.4 ./...

# Each stage by itself.
micro:
	@$(GO) test -run '^$$' -bench . -benchtime 0.5s ./chunk ./repo ./repo/internal/index ./snapshot ./snapshot/stream ./snapshot/backup ./source/media ./internal/sftpstore | grep -E '^(Benchmark|pkg:|FAIL|ok)'

clean:
	rm -rf bin
