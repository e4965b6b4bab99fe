package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"permafrost/internal/units"
)

// A size is a number of bytes, as a flag takes it: "500M" is 500 MiB.
type size int64

// String returns the size as people read it.
func (s size) String() string { return units.Bytes(int64(s)) }

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
