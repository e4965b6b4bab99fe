package source

import (
	"slices"
	"strings"
	"testing"

	"permafrost/internal/fuzzing"
)

func FuzzParseEnv(f *testing.F) {
	parse := func(b []byte) error { _, err := parseEnv(b); return err }
	for _, c := range envCases {
		fuzzing.Seed(f, parse, []byte(c.text))
	}
	f.Add([]byte("A='" + strings.Repeat("x", 1000) + "'\n" + strings.Repeat("B=$A$A\nA=$B\n", 5)))
	f.Fuzz(func(t *testing.T, data []byte) {
		var e *environ
		var err error
		fuzzing.Bound(t, maxValues*8+32*len(data), func() { e, err = parseEnv(data) })
		if err != nil {
			return
		}
		// Whatever was understood reads the same once it is written plainly.
		var b strings.Builder
		want := make(map[string]string)
		for name, value := range e.values {
			if !isName(name) {
				t.Fatalf("name %q", name)
			}
			if len(value) > maxValue {
				t.Fatalf("a value of %d bytes", len(value))
			}
			if _, doubtful := e.doubts[name]; doubtful || strings.ContainsAny(value, "'\r") || strings.HasSuffix(value, `\`) || len(value) > maxValue/2 {
				continue
			}
			want[name] = value
			b.WriteString("export " + name + " = '" + value + "' # comment\r\n")
		}
		again, err := parseEnv([]byte(b.String()))
		if err != nil {
			t.Fatalf("%v in %q", err, b.String())
		}
		for name, value := range want {
			if strings.ReplaceAll(again.values[name], "\r\n", "\n") != value {
				t.Errorf("%s: %q became %q", name, value, again.values[name])
			}
		}
	})
}

// A file of variables that repeat each other takes no more memory than a settings file may.
func TestParseEnvBomb(t *testing.T) {
	text := "A=" + strings.Repeat("x", maxValue-1) + "\n" + strings.Repeat("B=$A\n", (maxEnv-maxValue)/5)
	fuzzing.Bound(t, maxValues*8, func() {
		if _, err := parseEnv([]byte(text)); err == nil || !strings.Contains(err.Error(), "values are longer") {
			t.Errorf("got %v", err)
		}
	})
}

// FuzzRedisURL reads what REDIS_URL may hold. Errors do not tell it: it has a password.
func FuzzRedisURL(f *testing.F) {
	for _, s := range []string{"redis://localhost:6379/1", "rediss://user:hunter2@h/2?db=2", "redis://h?timeout=5", "unix:///run/redis.sock?db=1", "redis://:hunter2@[::1]"} {
		if _, err := parseRedisURL(s, 0, false); err != nil {
			f.Fatal(err)
		}
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := parseRedisURL(s, 0, false)
		if err != nil {
			if strings.Contains(s, "hunter2") && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%q: the error tells the password: %v", s, err)
			}
			return
		}
		if r.Addr == "" || r.DB < 0 || (r.Network == "unix") != strings.HasPrefix(r.Addr, "/") {
			t.Errorf("%q reads as %+v", s, r)
		}
	})
}

// isName reports whether an assignment may have that name.
func isName(s string) bool {
	return s != "" && !slices.ContainsFunc([]byte(s), func(c byte) bool { return !isWord(c) && c != '.' })
}
