package retain

import (
	"strings"
	"testing"
	"time"

	"permafrost/repo/store"
)

func FuzzParseSpan(f *testing.F) {
	for _, s := range []string{"2y5m7d3h", "30d", "0h", "99999y99999m99999d99999h"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		span, err := ParseSpan(s)
		if err != nil {
			return
		}
		if again, err := ParseSpan(span.String()); err != nil || again != span {
			t.Errorf("%q reads as %v, and that as %v, %v", s, span, again, err)
		}
		now := time.Date(2026, 6, 27, 3, 0, 0, 0, time.UTC)
		if before := span.Before(now); before.After(now) {
			t.Errorf("%v before %v is %v", span, now, before)
		}
	})
}

// FuzzFind names snapshots: what is found is one of them, and nothing else than what was named.
func FuzzFind(f *testing.F) {
	refs := parseRefs(f, "2026-06-25T03:00:00Z\n2026-06-27T03:00:00Z\n2026-06-27T04:00:00Z")
	for i := range refs {
		refs[i].ID = store.Name{0xab, byte(0x10 * i)}
	}
	for _, spec := range []string{"2026-06-27", "latest", "latest~2", "ab10"} {
		if _, err := Find(refs, nil, spec, Wish{}); err != nil {
			f.Fatal(err)
		}
		f.Add(spec)
	}
	f.Fuzz(func(t *testing.T, spec string) {
		r, err := Find(refs, nil, spec, Wish{})
		if err == nil && r.Date != spec && !strings.HasPrefix(spec, "latest") && !strings.HasPrefix(r.ID.String(), strings.ToLower(spec)) {
			t.Errorf("%q finds %v of %s", spec, r.ID, r.Date)
		}
	})
}

func FuzzPolicyLaws(f *testing.F) {
	f.Add(uint64(1))
	f.Fuzz(checkLaws)
}
