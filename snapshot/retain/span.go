package retain

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A Span is a stretch of calendar time: years and months and days as a calendar counts them, hours as a
// clock does. The zero Span is no time at all.
type Span struct {
	Years, Months, Days, Hours int
}

// maxSpanNumber bounds each number of a Span, so that no date leaves the calendar.
const maxSpanNumber = 99_999

// ParseSpan reads what String returns: numbers with their units, the largest first, such as "30d" or
// "2y5m7d3h".
func ParseSpan(s string) (Span, error) {
	var span Span
	fields := []*int{&span.Years, &span.Months, &span.Days, &span.Hours}
	units := "ymdh"
	rest := s
	for rest != "" {
		digits := 0
		for digits < len(rest) && '0' <= rest[digits] && rest[digits] <= '9' {
			digits++
		}
		if digits == 0 || digits == len(rest) {
			return Span{}, badSpan(s)
		}
		n, err := strconv.Atoi(rest[:digits])
		unit := strings.IndexByte(units, rest[digits])
		if err != nil || n > maxSpanNumber || unit < 0 {
			return Span{}, badSpan(s)
		}
		*fields[unit] = n
		fields, units, rest = fields[unit+1:], units[unit+1:], rest[digits+1:]
	}
	if s == "" {
		return Span{}, errors.New("a span of time is missing: write one like 30d or 2y5m7d3h")
	}
	return span, nil
}

func badSpan(s string) error {
	return fmt.Errorf("%q is not a span of time: write years, months, days and hours like 30d or 2y5m7d3h", s)
}

// String returns the span in the form that ParseSpan reads: "2y5m7d3h", or "0h".
func (s Span) String() string {
	var b strings.Builder
	for _, f := range []struct {
		n    int
		unit byte
	}{{s.Years, 'y'}, {s.Months, 'm'}, {s.Days, 'd'}, {s.Hours, 'h'}} {
		if f.n != 0 {
			b.WriteString(strconv.Itoa(f.n))
			b.WriteByte(f.unit)
		}
	}
	if b.Len() == 0 {
		return "0h"
	}
	return b.String()
}

// IsZero reports whether the span is no time at all.
func (s Span) IsZero() bool { return s == Span{} }

// MarshalText returns what String returns.
func (s Span) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (s *Span) UnmarshalText(b []byte) error {
	span, err := ParseSpan(string(b))
	if err == nil {
		*s = span
	}
	return err
}

// Before returns the time that lies the span before t, in t's location. A day that the earlier month does
// not have becomes that month's last: a month before 31 March is 28 February.
func (s Span) Before(t time.Time) time.Time {
	year, month, day := t.Date()
	hour, minute, sec := t.Clock()
	first := time.Date(year-s.Years, month-time.Month(s.Months), 1, 0, 0, 0, 0, time.UTC)
	lastDay := first.AddDate(0, 1, -1).Day()
	day = min(day, lastDay) - s.Days
	return time.Date(first.Year(), first.Month(), day, hour, minute, sec, t.Nanosecond(), t.Location()).
		Add(-time.Duration(s.Hours) * time.Hour)
}
