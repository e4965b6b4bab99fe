package units_test

import (
	"testing"
	"time"

	"permafrost/internal/units"
)

func TestBytes(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 B", 1: "1 B", 1023: "1023 B", 1024: "1.00 KiB", 1536: "1.50 KiB",
		10_234: "9.99 KiB", 10_240: "10.0 KiB", 102_348: "99.9 KiB", 102_400: "100 KiB", 1_047_552: "1023 KiB",
		1_048_575: "1.00 MiB", 36 << 20: "36.0 MiB", 5 << 30: "5.00 GiB", 1<<63 - 1: "8.00 EiB", -5: "-5 B",
	} {
		if got := units.Bytes(n); got != want {
			t.Errorf("%d is %q, want %q", n, got, want)
		}
	}
}

func TestDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 0: "0.0s", 440 * time.Millisecond: "0.4s", 9949 * time.Millisecond: "9.9s",
		9950 * time.Millisecond: "10s", 59*time.Second + 499*time.Millisecond: "59s",
		59*time.Second + 500*time.Millisecond: "1m00s", 185 * time.Second: "3m05s",
		time.Hour - time.Second: "59m59s", time.Hour - time.Millisecond: "1h00m", 134 * time.Minute: "2h14m",
		100 * time.Hour: "100h00m",
	} {
		if got := units.Duration(d); got != want {
			t.Errorf("%v is %q, want %q", d, got, want)
		}
	}
}

func TestCount(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -100: "-100", -1000: "-1,000"} {
		if got := units.Count(n); got != want {
			t.Errorf("%d is %q, want %q", n, got, want)
		}
	}
}

func TestTime(t *testing.T) {
	if got := units.Time(time.Date(2026, 6, 27, 3, 4, 5, 999, time.Local)); got != "2026-06-27 03:04:05" {
		t.Error(got)
	}
	if got := units.Seconds(185.2); got != "3m05s" {
		t.Error(got)
	}
}
