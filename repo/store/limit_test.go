package store

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestPacer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPacer(1000)
		begin := time.Now()
		at := func(n int, want time.Duration) {
			t.Helper()
			if err := p.wait(t.Context(), n); err != nil {
				t.Fatal(err)
			}
			if got := time.Since(begin); got != want {
				t.Errorf("%d bytes went after %v, want %v", n, got, want)
			}
		}
		at(500, 0) // the first goes at once, and the next ones when it has had its time
		at(2000, 500*time.Millisecond)
		at(100, 2500*time.Millisecond)
		p.giveBack(100)
		at(1, 2500*time.Millisecond)
		time.Sleep(time.Minute) // time that nobody used is not saved up
		at(1000, 62500*time.Millisecond)
		at(1, 63500*time.Millisecond)
	})
}

type far struct{ Store }

func (far) RoundTrip() time.Duration { return 50 * time.Millisecond }

// How far away the storage is decides how much is under way at once, with limits too.
func TestLimitsTellTheDistance(t *testing.T) {
	for _, up := range []int64{0, 1 << 20} {
		if rtt := Limit(far{}, up, 0).RoundTrip(); rtt != 50*time.Millisecond {
			t.Errorf("with an upload limit of %d the storage is %v away", up, rtt)
		}
	}
}

func TestPacerEndsEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		p := newPacer(1)
		if err := p.wait(ctx, 3600); err != nil {
			t.Fatal(err)
		}
		if err := p.wait(ctx, 1); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
	var none *pacer
	if err := none.wait(t.Context(), 1<<40); err != nil {
		t.Error(err)
	}
	none.giveBack(1)
}
