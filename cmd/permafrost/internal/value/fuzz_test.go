package value

import (
	"testing"
	"time"

	"permafrost/repo/upkeep"
)

// FuzzFlags reads values of flags: what is taken is in its range, and reads the same once it is written.
func FuzzFlags(f *testing.F) {
	for _, s := range []string{"1.5G", "512 B", "5%", "2/7", "all", "2026-06-27", "30d"} {
		f.Add(s)
	}
	if err := new(Size).Set("1.5G"); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		checkSize(t, text)
		checkSubset(t, text)
		var p Percent
		if err := p.Set(text); err == nil && !(p >= 0 && p <= 1) {
			t.Errorf("%q is %v", text, float64(p))
		}
		var n, again Count
		if err := n.Set(text); err == nil && (n < -1 || again.Set(n.String()) != nil || again != n) {
			t.Errorf("%q is %d", text, n)
		}
		var d Date
		if err := d.Set(text); err == nil {
			if _, err := time.Parse(time.DateOnly, d.String()); err != nil {
				t.Error(err)
			}
		}
	})
}

// checkSize demands that a size comes back from its text, which has three digits.
func checkSize(t *testing.T, text string) {
	t.Helper()
	s, again := Size(-1), Size(-1)
	if s.Set(text) != nil {
		if s != -1 {
			t.Errorf("%q is no size, and set to %d", text, s)
		}
		return
	}
	if s < 0 {
		t.Errorf("%q is %d", text, s)
	}
	if s >= 999<<40 {
		return // in units that no flag takes
	}
	err := again.Set(s.String())
	if off := float64(again - s); err != nil || off > float64(s)/100 || -off > float64(s)/100 {
		t.Errorf("%q is %d, written %v, which reads as %d, %v", text, s, s, again, err)
	}
}

func checkSubset(t *testing.T, text string) {
	t.Helper()
	var f Subset
	if f.Set(text) != nil {
		return
	}
	switch s := *f.Subset; s {
	case upkeep.Subset{Percent: s.Percent}, upkeep.Subset{Bytes: s.Bytes}, upkeep.Subset{Part: s.Part, Of: s.Of}:
		if s.Percent < 0 || s.Percent > 100 || s.Bytes < 0 || s.Part < 0 || s.Part > s.Of || s == (upkeep.Subset{}) {
			t.Errorf("%q is %+v", text, s)
		}
	default:
		t.Errorf("%q is %+v", text, s)
	}
}
