// Package units writes numbers, sizes, times and spans of time the way people read them.
package units

import (
	"fmt"
	"strconv"
	"time"
)

// Bytes returns a number of bytes in binary units with three digits: "512 B", "1.50 KiB", "36.0 MiB".
func Bytes(n int64) string {
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	names := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}
	v, unit := float64(n), 0
	for v >= 1023.5 { // what would round to 1024
		v /= 1024
		unit++
	}
	digits := 2
	switch {
	case v >= 99.95:
		digits = 0
	case v >= 9.995:
		digits = 1
	}
	return strconv.FormatFloat(v, 'f', digits, 64) + " " + names[unit]
}

// Duration returns d as people say it: "0.4s", "12s", "3m05s", "2h14m".
func Duration(d time.Duration) string {
	switch {
	case d < 0:
		return "0s"
	case d < 9950*time.Millisecond:
		return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + "s"
	case d < time.Minute-500*time.Millisecond:
		return fmt.Sprintf("%.0fs", d.Seconds())
	case d < time.Hour-500*time.Millisecond:
		s := int(d.Round(time.Second).Seconds())
		return fmt.Sprintf("%dm%02ds", s/60, s%60)
	}
	m := int(d.Round(time.Minute).Minutes())
	return fmt.Sprintf("%dh%02dm", m/60, m%60)
}

// Seconds is Duration for a number of seconds.
func Seconds(n float64) string { return Duration(time.Duration(n * float64(time.Second))) }

// Time returns t in this machine's time zone, to the second: "2026-06-27 03:00:00".
func Time(t time.Time) string { return t.Local().Format(time.DateTime) }

// Count returns n with thousands set apart: "1,234,567".
func Count(n int64) string {
	s := strconv.FormatInt(n, 10)
	first := 0
	if n < 0 {
		first = 1
	}
	for i := len(s) - 3; i > first; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// Plural returns "1 file" or "1,234 files".
func Plural(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return Count(n) + " " + many
}
