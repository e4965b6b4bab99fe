package retain

import (
	"testing"
	"time"
	_ "time/tzdata"
)

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	loc, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return loc
}

func TestSpan(t *testing.T) {
	for _, tt := range []struct {
		text string
		want Span
	}{
		{"30d", Span{Days: 30}},
		{"2y5m7d3h", Span{2, 5, 7, 3}},
		{"1y1h", Span{Years: 1, Hours: 1}},
		{"0h", Span{}},
	} {
		got, err := ParseSpan(tt.text)
		if err != nil || got != tt.want || got.String() != tt.text {
			t.Errorf("ParseSpan(%q) = %v, %v", tt.text, got, err)
		}
	}
	for _, bad := range []string{"", "d", "30", "30w", "3h2d", "1d1d", "-1d", "1.5d", "100000d", "99999999999999999999d", "1d ", "１d"} {
		if got, err := ParseSpan(bad); err == nil {
			t.Errorf("ParseSpan(%q) = %v, want an error", bad, got)
		}
	}
}

func TestSpanBefore(t *testing.T) {
	berlin := zone(t, "Europe/Berlin")
	for _, tt := range []struct{ span, from, want string }{
		{"1m", "2026-03-31T12:00:00+02:00", "2026-02-28T12:00:00+01:00"},
		{"1m", "2028-03-31T12:00:00+02:00", "2028-02-29T12:00:00+01:00"},
		{"1y", "2028-02-29T12:00:00+01:00", "2027-02-28T12:00:00+01:00"},
		{"13m", "2026-01-15T12:00:00+01:00", "2024-12-15T12:00:00+01:00"},
		{"1d", "2026-10-25T12:00:00+01:00", "2026-10-24T12:00:00+02:00"},
		{"24h", "2026-10-25T12:00:00+01:00", "2026-10-24T13:00:00+02:00"},
		{"40d", "2026-03-05T00:00:00+01:00", "2026-01-24T00:00:00+01:00"},
		{"0h", "2026-03-05T00:00:00+01:00", "2026-03-05T00:00:00+01:00"},
	} {
		span, err := ParseSpan(tt.span)
		if err != nil {
			t.Fatal(err)
		}
		from, _ := time.Parse(time.RFC3339, tt.from)
		if got := span.Before(from.In(berlin)).Format(time.RFC3339); got != tt.want {
			t.Errorf("%s before %s is %s, want %s", tt.span, tt.from, got, tt.want)
		}
	}
}
