package value

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"permafrost/cmd/permafrost/internal/usage"
	"permafrost/internal/units"
)

// A Size is a number of bytes, as a flag takes it: "500M" is 500 MiB.
type Size int64

// String returns the size as people read it.
func (s Size) String() string { return units.Bytes(int64(s)) }

// Set reads a whole or decimal number with a unit (k, M, G, T; also KiB, MiB …), or bytes without one.
func (s *Size) Set(text string) error {
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
	*s = Size(v)
	return nil
}

// A Rate is a size a second, as a flag takes it. 0 is no limit.
type Rate Size

// String returns the rate, or nothing where there is no limit.
func (r *Rate) String() string {
	if *r == 0 {
		return ""
	}
	return Size(*r).String()
}

// Set reads what a Size's Set reads.
func (r *Rate) Set(text string) error { return (*Size)(r).Set(text) }

// Type names the flag's value in help texts.
func (r *Rate) Type() string { return "size" }

// A Spool is how much may wait on the disk, in bytes, as a flag takes it: 0 where nothing was said, negative for none.
type Spool int64

func (s *Spool) String() string {
	switch {
	case *s == 0:
		return ""
	case *s < 0:
		return "0"
	}
	return Size(*s).String()
}

// Set reads what a Size's Set reads. 0 is none.
func (s *Spool) Set(text string) error {
	var n Size
	if err := n.Set(text); err != nil {
		return err
	}
	if *s = Spool(n); n == 0 {
		*s = -1
	}
	return nil
}

// Type names the flag's value in help texts.
func (s *Spool) Type() string { return "size" }

// A Date is a civil date, as a flag takes it.
type Date string

func (d *Date) String() string { return string(*d) }

// Set reads YYYY-MM-DD.
func (d *Date) Set(text string) error {
	if _, err := time.Parse(time.DateOnly, text); err != nil {
		return fmt.Errorf("%q is not a date: write one like 2026-06-27", text)
	}
	*d = Date(text)
	return nil
}

// NotAhead returns an error where the date is later than tomorrow: elsewhere on the globe it may be that already.
func (d *Date) NotAhead(now time.Time) error {
	if string(*d) > now.AddDate(0, 0, 1).Format(time.DateOnly) {
		return usage.Errorf("--date %s lies in the future", *d)
	}
	return nil
}

// Type names the flag's value in help texts.
func (d *Date) Type() string { return "date" }
