package source

import (
	"strings"
	"testing"
)

func FuzzParseEnv(f *testing.F) {
	if len(envCases) == 0 {
		f.Fatal("no seeds")
	}
	for _, c := range envCases {
		f.Add([]byte(c.text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := parseEnv(data)
		if err != nil {
			return
		}
		// Whatever was understood reads the same once it is written plainly.
		var b strings.Builder
		want := make(map[string]string)
		for name, value := range e.values {
			if nameLen(name) != len(name) || name == "" {
				t.Fatalf("name %q", name)
			}
			if len(value) > maxValue {
				t.Fatalf("a value of %d bytes", len(value))
			}
			if strings.ContainsAny(value, "'\r") || strings.HasSuffix(value, `\`) || len(value) > maxValue/2 {
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
