package snaptest

import (
	"context"
	"runtime"
	"testing"
	"time"
)

// InTime runs what may go on for ever: soon after its context has ended it has, and it never takes much memory. If alone, it ends
// before.
func InTime(t *testing.T, alone bool, f func(ctx context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	runtime.GC() // what tests before this one have left
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	most := uint64(0)
	for begun := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		if most = max(most, m.HeapAlloc); most > 200<<20 {
			t.Fatalf("it takes %d MiB after %v", most>>20, time.Since(begun))
		}
		select {
		case err := <-done:
			if alone && ctx.Err() != nil {
				t.Errorf("it goes on until it is ended: %v", err)
			}
			return
		default:
		}
		if time.Since(begun) > 10*time.Second {
			t.Fatal("it does not end")
		}
	}
}
