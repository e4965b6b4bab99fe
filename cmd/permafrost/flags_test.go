package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"permafrost/cmd/permafrost/internal/console"
)

// nonsense is what no flag of a type means.
var nonsense = map[string][]string{
	"string":      {"", "a\nb", "a\x00b", strings.Repeat("x", 1<<20)},
	"stringArray": {"", "a\nb", "a\x00b", strings.Repeat("x", 1<<20)},
	"stringSlice": {"a\nb", "a\x00b", "x,y", strings.Repeat("x", 1<<20)},
	"port":        {"", "0", "-1", "65536", "http", "99999999999999999999"},
	"bool":        {"maybe", "", "2"},
	"duration":    {"", "soon", "-1m", "999999h", "5", "99999999999999999999h"},
	"size":        {"", "-1", "fast", "1e9", "99999999999T", "1\n"},
	"percentage":  {"", "-1%", "101%", "much", "NaN"},
	"part":        {"", "0/7", "8/7", "-1/7", "0%", "101%", "x", "1/99999999999"},
	"head":        {"", "42", "-1:00", "42:xyz"},
	"date":        {"", "soon", "2026-13-01", "2026-6-1", "-2026-06-01"},
	"span":        {"", "-3d", "30", "99999999d", "3d2y", "0.5d"},
	"choice":      {"", "sometimes", "ALWAYS", "never "},
	"N":           {"", "-2", "many", "99999999", "99999999999999999999", "1.5"},
}

// Every flag of every command refuses nonsense, by its name and as wrong usage, before anything is done. A flag that is
// added is tried too.
func TestEveryFlagRefusesNonsense(t *testing.T) {
	tried := 0
	var visit func(*cobra.Command)
	visit = func(c *cobra.Command) {
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if f.Name == "help" {
				return
			}
			values, ok := nonsense[f.Value.Type()]
			if !ok {
				t.Errorf("--%s: there is no nonsense for a %s", f.Name, f.Value.Type())
			}
			for _, v := range values {
				if v == "" && (f.Name == "cache-dir" || f.Name == "state-dir" || f.Name == "writer-key") {
					continue // which turns it off
				}
				tried++
				refuses(t, c, f.Name, v)
			}
		})
		for _, sub := range c.Commands() {
			visit(sub)
		}
	}
	visit(newRoot(&app{ui: console.New(&bytes.Buffer{}, &bytes.Buffer{})}))
	t.Logf("%d values tried", tried)
}

// refuses runs a command with a flag, with as many arguments as it takes.
func refuses(t *testing.T, c *cobra.Command, flag, value string) {
	t.Helper()
	path := strings.Fields(c.CommandPath())[1:]
	if len(path) == 0 {
		path = []string{"snapshots"} // a flag of all commands
	}
	var r result
	for args := range 3 {
		var out, errs bytes.Buffer
		a := &app{stdin: strings.NewReader(""), ui: console.New(&out, &errs)}
		line := append(append([]string{}, path...), "--config=/dev/null", "--"+flag+"="+value)
		if flag == "config" {
			line = append(path, "--config="+value)
		}
		r.code = a.execute(t.Context(), append(line, []string{"writer", "x"}[:args]...))
		if r.stdout, r.stderr = out.String(), errs.String(); strings.Contains(r.stderr, "--"+flag) {
			break
		}
	}
	if r.code != exitUsage || !strings.Contains(r.stderr, "--"+flag) || len(r.stderr) > 2000 {
		t.Errorf("%v --%s=%.20q: code %d, %d bytes: %.300s", path, flag, value, r.code, len(r.stderr), r.stderr)
	}
}

// What else can't be meant.
func TestMoreNonsense(t *testing.T) {
	for _, tt := range []struct{ args, want string }{
		{"help nonsense", "unknown command nonsense"},
		{"help key nonsense", "unknown command nonsense"},
		{"repair", "index, packs"},
		{"key", "list, add, remove, rotate"},
		{"snapshot --date 2099-01-01", "--date 2099-01-01 lies in the future"},
		{"snapshot --tag a,b", "--tag: it has a comma"},
		{"snapshot --tag " + strings.Repeat("x", 254), "--tag: 254 bytes are too many"},
		{"forget --keep-tag " + strings.Repeat("x", 254), "--keep-tag: 254 bytes are too many"},
		{"snapshot --exclude [a", "--exclude: "},
		{"snapshot --exclude a//b", "--exclude: "},
		{"snapshots --instance social/example", "--instance: it is no domain"},
		{"forget --keep-tag a,,b", "--keep-tag: it is empty"},
		{"restore --date 2026-06-27 --target x --component media --component media", "--component: media is named twice"},
		{"find [a", "pattern"},
	} {
		t.Run(tt.args, func(t *testing.T) {
			r := newCommand(t, strings.Fields(tt.args)...).run(t)
			if r.code != exitUsage || !strings.Contains(r.stderr, tt.want) || r.stdout != "" {
				t.Errorf("code %d, stdout %q, stderr %q", r.code, r.stdout, r.stderr)
			}
		})
	}
	for _, args := range []string{"help", "help key add", "help exit-codes", "help patterns"} {
		if r := newCommand(t, strings.Fields(args)...).run(t); r.code != exitDone || r.stdout == "" {
			t.Errorf("%s: code %d, stderr %q", args, r.code, r.stderr)
		}
	}
}
