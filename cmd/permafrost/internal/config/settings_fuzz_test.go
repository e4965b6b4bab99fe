package config

import (
	"reflect"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
	"github.com/spf13/pflag"

	"permafrost/cmd/permafrost/internal/value"
	"permafrost/internal/fuzzing"
)

// FuzzParseConfig reads configuration files. What one says can be written again, and said to a command's flags.
func FuzzParseConfig(f *testing.F) {
	seed := func(b []byte) error { _, err := parse(string(b)); return err }
	fuzzing.Seed(f, seed, []byte("repository = \"sftp:u@h:/p\"\nidentity_file = \"one.key\"\ntags = [\"nightly\", \"live\"]\n[keep]\ndaily = 7\nwithin = \"30d\"\n"),
		[]byte("no_cache_media = true\nkeep.last = -1\nexclude = '''a\nb'''\nlimit_upload = \"5M\"\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := parse(string(text))
		if err != nil {
			return
		}
		var out strings.Builder
		if err := toml.NewEncoder(&out).Encode(treeOf(c)); err != nil {
			t.Fatal(err)
		}
		if again, err := parse(out.String()); err != nil || !reflect.DeepEqual(again, c) {
			t.Errorf("%q says %v, and that says %v, %v", text, c, again, err)
		}
		flags := pflag.NewFlagSet("", pflag.ContinueOnError)
		flags.Var(new(value.Rate), "limit-upload", "")
		flags.Var(new(value.Count), "keep-daily", "")
		Fill("forget", flags, func(string) string { return "" }, c)
	})
}

// treeOf is what a configuration file of these values decodes to.
func treeOf(c File) map[string]any {
	tree := make(map[string]any)
	for _, s := range settings {
		words, ok := c[s.Key]
		if !ok {
			continue
		}
		table, key := tree, s.Key
		if name, rest, ok := strings.Cut(key, "."); ok {
			if tree[name] == nil {
				tree[name] = make(map[string]any)
			}
			table, key = tree[name].(map[string]any), rest
		}
		table[key] = valueOf(s.Kind, words)
	}
	return tree
}

func valueOf(k Kind, words []string) any {
	switch k {
	case isList:
		return append([]string{}, words...)
	case isText:
		return words[0]
	}
	var v struct{ X any }
	if _, err := toml.Decode("X = "+words[0], &v); err != nil {
		panic(err) // it was one
	}
	return v.X
}
