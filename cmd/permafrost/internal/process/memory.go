package process

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"

	"golang.org/x/sys/unix"
)

// heapSlack is how many bytes of garbage may gather before they are collected. Nearly all that is live is buffers
// without pointers, which cost a collection nothing: what it costs is how often there is one. A percentage of the live
// heap is too much where that is large, and where it is small, too little by far: data come from a connection in a new
// buffer for each packet. A memory limit would collect without end where a repository needs more than it.
const heapSlack = 12 << 20

// PaceGC sets the garbage collector's percentage, after each collection, to what makes heapSlack bytes.
func PaceGC() {
	if os.Getenv("GOGC") != "" {
		return
	}
	type token struct{ _ [16]byte }
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	var collected func(*token)
	collected = func(*token) {
		metrics.Read(live)
		debug.SetGCPercent(int(min(max(heapSlack*100/max(live[0].Value.Uint64(), 1), 5), 400)))
		runtime.SetFinalizer(new(token), collected) // runs after the next collection
	}
	collected(nil)
}

// ForbidCoreDumps keeps keys and passwords in memory out of core files. A process that is not dumpable gives none to a crash
// handler either, and other processes of its user can't read its memory; that ends where a child begins, the limit of size
// does not. Where neither can be had nothing else is worse for it.
func ForbidCoreDumps() {
	unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
	unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
}
