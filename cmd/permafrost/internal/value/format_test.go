package value

import "testing"

func TestSizeSet(t *testing.T) {
	for text, want := range map[string]Size{
		"0": 0, "512": 512, "512B": 512, "10k": 10 << 10, "10K": 10 << 10, "500M": 500 << 20, "1.5G": 3 << 29,
		"2 GiB": 2 << 30, "1TB": 1 << 40, "7MiB": 7 << 20,
	} {
		var s Size
		if err := s.Set(text); err != nil || s != want {
			t.Errorf("%q is %d, %v; want %d", text, s, err, want)
		}
	}
	for _, text := range []string{"", "M", "-1", "-1M", "1e9", "10X", "10MM", "0x10", "inf", "NaN", "9999999T", "1.2.3", "1 0", "10kM"} {
		s := Size(7)
		if err := s.Set(text); err == nil || s != 7 {
			t.Errorf("%q is %d, %v; want an error", text, s, err)
		}
	}
}

func TestDateSet(t *testing.T) {
	var d Date
	if err := d.Set("2026-06-27"); err != nil || d != "2026-06-27" {
		t.Error(d, err)
	}
	for _, text := range []string{"", "2026-6-27", "27.06.2026", "2026-02-30", "2026-06-27T03:00", "today"} {
		if err := d.Set(text); err == nil {
			t.Errorf("%q is taken for a date", text)
		}
	}
}

// No disk space for a spool is said by 0, which is another thing than nothing said.
func TestSpoolSize(t *testing.T) {
	for text, want := range map[string]Spool{"": 0, "0": -1, "4G": 4 << 30} {
		var s Spool
		if text != "" {
			if err := s.Set(text); err != nil {
				t.Errorf("%s: %v", text, err)
			}
		}
		if s != want {
			t.Errorf("%q is %d, want %d", text, s, want)
		}
	}
}
