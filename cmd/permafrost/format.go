package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"permafrost/internal/escape"
)

// A size is a number of bytes, as a flag takes it: "500M" is 500 MiB.
type size int64

var sizeUnits = []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}

// String returns the size in binary units with three digits: "512 B", "1.50 KiB", "36.0 MiB".
func (s size) String() string {
	if s < 1024 {
		return fmt.Sprintf("%d B", int64(s))
	}
	v, unit := float64(s), 0
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
	return strconv.FormatFloat(v, 'f', digits, 64) + " " + sizeUnits[unit]
}

// Set reads a whole or decimal number with a unit (k, M, G, T; also KiB, MiB …), or bytes without one.
func (s *size) Set(text string) error {
	digits := strings.TrimRight(text, " kKMGTiB")
	unit := strings.ToUpper(strings.TrimSpace(text[len(digits):]))
	unit = strings.TrimSuffix(strings.TrimSuffix(unit, "B"), "I")
	power := strings.Index("KMGT", unit) + 1
	v, err := strconv.ParseFloat(digits, 64)
	if err != nil || len(unit) > 1 || strings.Trim(digits, "0123456789.") != "" {
		return fmt.Errorf("%q is not a size: write a number with K, M, G or T, for example 10M", text)
	}
	if unit == "" {
		power = 0
	}
	v *= math.Pow(1024, float64(power))
	if v >= math.MaxInt64 {
		return fmt.Errorf("size %q is too large", text)
	}
	*s = size(v)
	return nil
}

// A rate is a size a second, as a flag takes it. 0 is no limit.
type rate size

// String returns the rate, or nothing where there is no limit.
func (r *rate) String() string {
	if *r == 0 {
		return ""
	}
	return size(*r).String()
}

// Set reads what a size's Set reads.
func (r *rate) Set(text string) error { return (*size)(r).Set(text) }

// Type names the flag's value in help texts.
func (r *rate) Type() string { return "size" }

// A date is a civil date, as a flag takes it.
type date string

func (d *date) String() string { return string(*d) }

// Set reads YYYY-MM-DD.
func (d *date) Set(text string) error {
	if _, err := time.Parse(time.DateOnly, text); err != nil {
		return fmt.Errorf("%q is not a date: write one like 2026-06-27", text)
	}
	*d = date(text)
	return nil
}

// notAhead returns an error where the date is later than tomorrow: elsewhere on the globe it may be that already.
func (d *date) notAhead(now time.Time) error {
	if string(*d) > now.AddDate(0, 0, 1).Format(time.DateOnly) {
		return usagef("--date %s lies in the future", *d)
	}
	return nil
}

// Type names the flag's value in help texts.
func (d *date) Type() string { return "date" }

// formatDuration returns d as people say it: "0.4s", "12s", "3m05s", "2h14m".
func formatDuration(d time.Duration) string {
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

// formatTime returns t in this machine's time zone, to the second.
func formatTime(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05") }

// formatCount returns n with thousands set apart: "1,234,567".
func formatCount(n int64) string {
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

// plural returns "1 file" or "1,234 files".
func plural(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return formatCount(n) + " " + many
}

// A table lays out rows of text in columns. A heading that begins with '>' sets its column to the right.
type table struct {
	heads []string
	rows  [][]string
}

func newTable(heads ...string) *table { return &table{heads: heads} }

func (t *table) add(cells ...string) {
	for i := range cells {
		cells[i] = escape.Line(cells[i])
	}
	t.rows = append(t.rows, cells)
}

// lines returns the table, a line a row, with the headings first and no space at the ends of lines.
func (t *table) lines() (lines []string) {
	heads := make([]string, len(t.heads))
	for i, h := range t.heads {
		heads[i] = strings.TrimPrefix(h, ">")
	}
	rows := append([][]string{heads}, t.rows...)
	widths := make([]int, len(heads))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			if i > 0 {
				line.WriteString("  ")
			}
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if strings.HasPrefix(t.heads[i], ">") {
				line.WriteString(pad + cell)
			} else {
				line.WriteString(cell + pad)
			}
		}
		lines = append(lines, strings.TrimRight(line.String(), " "))
	}
	return lines
}
