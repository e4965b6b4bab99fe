package main

import (
	"strings"
	"testing"
	"time"
)

func TestSizeString(t *testing.T) {
	for n, want := range map[size]string{
		0: "0 B", 1: "1 B", 1023: "1023 B", 1024: "1.00 KiB", 1536: "1.50 KiB",
		10_234: "9.99 KiB", 10_240: "10.0 KiB", 102_348: "99.9 KiB", 102_400: "100 KiB", 1_047_552: "1023 KiB",
		1_048_575: "1.00 MiB", 36 << 20: "36.0 MiB", 5 << 30: "5.00 GiB", 1<<63 - 1: "8.00 EiB", -5: "-5 B",
	} {
		if got := n.String(); got != want {
			t.Errorf("%d is %q, want %q", int64(n), got, want)
		}
	}
}

func TestSizeSet(t *testing.T) {
	for text, want := range map[string]size{
		"0": 0, "512": 512, "512B": 512, "10k": 10 << 10, "10K": 10 << 10, "500M": 500 << 20, "1.5G": 3 << 29,
		"2 GiB": 2 << 30, "1TB": 1 << 40, "7MiB": 7 << 20,
	} {
		var s size
		if err := s.Set(text); err != nil || s != want {
			t.Errorf("%q is %d, %v; want %d", text, s, err, want)
		}
	}
	for _, text := range []string{"", "M", "-1", "-1M", "1e9", "10X", "10MM", "0x10", "inf", "NaN", "9999999T", "1.2.3", "1 0", "10kM"} {
		s := size(7)
		if err := s.Set(text); err == nil || s != 7 {
			t.Errorf("%q is %d, %v; want an error", text, s, err)
		}
	}
}

func TestDateSet(t *testing.T) {
	var d date
	if err := d.Set("2026-06-27"); err != nil || d != "2026-06-27" {
		t.Error(d, err)
	}
	for _, text := range []string{"", "2026-6-27", "27.06.2026", "2026-02-30", "2026-06-27T03:00", "today"} {
		if err := d.Set(text); err == nil {
			t.Errorf("%q is taken for a date", text)
		}
	}
}

func TestFormatDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 0: "0.0s", 440 * time.Millisecond: "0.4s", 9949 * time.Millisecond: "9.9s",
		9950 * time.Millisecond: "10s", 59*time.Second + 499*time.Millisecond: "59s",
		59*time.Second + 500*time.Millisecond: "1m00s", 185 * time.Second: "3m05s",
		time.Hour - time.Second: "59m59s", time.Hour - time.Millisecond: "1h00m", 134 * time.Minute: "2h14m",
		100 * time.Hour: "100h00m",
	} {
		if got := formatDuration(d); got != want {
			t.Errorf("%v is %q, want %q", d, got, want)
		}
	}
}

func TestFormatCount(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -100: "-100", -1000: "-1,000"} {
		if got := formatCount(n); got != want {
			t.Errorf("%d is %q, want %q", n, got, want)
		}
	}
}

func TestTable(t *testing.T) {
	tab := newTable("ID", ">Size", "Tags")
	tab.add("ab12", "1 B", "")
	tab.add("größer", "1023 KiB", "weekly")
	want := "" +
		"ID          Size  Tags\n" +
		"ab12         1 B\n" +
		"größer  1023 KiB  weekly\n"
	if got := strings.Join(tab.lines(), "\n") + "\n"; got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}
