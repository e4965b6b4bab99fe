package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// heapSlack is how many bytes of garbage may gather before they are collected. Nearly all that is live is buffers
// without pointers, which cost a collection nothing: what it costs is how often there is one. A percentage of the live
// heap is too much where that is large, and where it is small, too little by far: data come from a connection in a new
// buffer for each packet. A memory limit would collect without end where a repository needs more than it.
const heapSlack = 12 << 20

// paceGC sets the garbage collector's percentage, after each collection, to what makes heapSlack bytes.
func paceGC() {
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
