package config

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"permafrost/cmd/permafrost/internal/value"
	"permafrost/internal/hint"
)

func TestParseConfig(t *testing.T) {
	got, err := parse(`
repository = "sftp:u@h:/p"
identity_file = "one.key"
tags = ["nightly", "live"]
no_cache_media = true
[keep]
daily = 7
monthly = -1
within = "30d"
`)
	want := File{
		"repository": {"sftp:u@h:/p"}, "identity_file": {"one.key"}, "tags": {"nightly", "live"}, "no_cache_media": {"true"},
		"keep.daily": {"7"}, "keep.monthly": {"-1"}, "keep.within": {"30d"},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestParseConfigRefuses(t *testing.T) {
	for _, tt := range []struct{ text, err, hint string }{
		{`repositry = "x"`, "unknown key repositry", "did you mean repository?"},
		{`[keep]` + "\n" + `dayly = 7`, "unknown key keep.dayly", "did you mean keep.daily?"},
		{`[retention]` + "\n" + `daily = 7`, "unknown key retention", "help config"},
		{`[repository]` + "\n" + `url = "x"`, "repository must be a string", ""},
		{"[keep]\ndaily = 7\nlive = \"/x\"", "live is below [keep], and is no key of that table", "to the top of the file, above the first line like [keep]"},
		{"daily = 7", "daily is a key of the table [keep]", "below a line [keep]"},
		{"[redis]\nhost = \"h\"", "host is below [redis], and belongs to the table [postgres]", "below a line [postgres]"},
		{"[postgres]\nprot = 5432", "unknown key postgres.prot", "did you mean postgres.port?"},
		{"[postgres]\nport = \"5432\"", "postgres.port must be a number", ""},
		{`keep = 7`, "unknown key keep", ""},
		{`"" = 7`, `unknown key ""`, ""},
		{`repository = ["a"]`, "repository must be a string", ""},
		{`tags = [1]`, "tags must be a string or a list of strings", ""},
		{`no_cache_media = "yes"`, "no_cache_media must be true or false", ""},
		{`keep.daily = "7"`, "keep.daily must be a number", ""},
		{`keep.daily = 7.5`, "keep.daily must be a number", ""},
		{"live = \"/x\"\nrepository = sftp", "line 2: ", ""},
		{"live = \"/x\"\nlive = \"/y\"", "line 2: ", ""},
	} {
		_, err := parse(tt.text)
		if err == nil || !strings.Contains(err.Error(), tt.err) || !strings.Contains(hint.Of(err), tt.hint) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: got %v, hint %q", tt.text, err, hint.Of(err))
		}
	}
}

func TestLoadConfigAbsent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none.toml")
	if c, err := Load(path, false); c != nil || err != nil {
		t.Error(c, err)
	}
	if _, err := Load(path, true); err == nil {
		t.Error("a file that somebody named may be absent")
	}
	if err := os.WriteFile(path, make([]byte, maxConfigFile+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path, false); err == nil || !strings.Contains(err.Error(), "longer") {
		t.Error(err)
	}
}

// A flag goes before the environment, and that before the configuration.
func TestFill(t *testing.T) {
	conf := File{"repository": {"from-config"}, "identity_file": {"c1", "c2"}, "keep.daily": {"3"}}
	environ := map[string]string{"PERMAFROST_REPOSITORY": "from-env", "PERMAFROST_IDENTITY_FILE": "e1"}
	for _, tt := range []struct {
		name  string
		args  []string
		env   bool
		conf  File
		repo  string
		ids   []string
		daily int
	}{
		{"nothing", nil, false, nil, "default", nil, 0},
		{"configuration", nil, false, conf, "from-config", []string{"c1", "c2"}, 3},
		{"environment", nil, true, conf, "from-env", []string{"e1"}, 3},
		{"flags", []string{"--repo=f", "--identity=f1", "--identity=f2", "--keep-daily=0"}, true, conf, "f", []string{"f1", "f2"}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			flags := pflag.NewFlagSet("", pflag.ContinueOnError)
			repository := flags.String("repo", "default", "")
			ids := flags.StringArray("identity", nil, "")
			daily := flags.Int("keep-daily", 0, "")
			if err := flags.Parse(tt.args); err != nil {
				t.Fatal(err)
			}
			getenv := func(name string) string {
				if !tt.env {
					return ""
				}
				return environ[name]
			}
			if err := Fill("forget", flags, getenv, tt.conf); err != nil {
				t.Fatal(err)
			}
			if *repository != tt.repo || strings.Join(*ids, " ") != strings.Join(tt.ids, " ") || *daily != tt.daily {
				t.Errorf("got %s %v %d", *repository, *ids, *daily)
			}
			if flags.Changed("repo") != (len(tt.args) > 0) {
				t.Error("a filled flag is marked as given")
			}
		})
	}
}

func TestFillNamesTheSource(t *testing.T) {
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	var s value.Rate
	flags.Var(&s, "limit-upload", "")
	err := Fill("forget", flags, func(string) string { return "" }, File{"limit_upload": {"fast"}})
	if err == nil || !strings.Contains(err.Error(), "limit_upload in the configuration: ") {
		t.Error(err)
	}
}

// What the configuration says for one command says nothing for another: tags that snapshots are given are not those
// that are looked for.
func TestFillKnowsTheCommand(t *testing.T) {
	for command, want := range map[string]int{"snapshot": 1, "snapshots": 0} {
		flags := pflag.NewFlagSet("", pflag.ContinueOnError)
		tags := flags.StringArray("tag", nil, "")
		if err := Fill(command, flags, func(string) string { return "" }, File{"tags": {"nightly"}}); err != nil {
			t.Fatal(err)
		}
		if len(*tags) != want {
			t.Errorf("%s has tags %v", command, *tags)
		}
	}
}

// docs/permafrost.toml has every setting, as one of the kind that it must be, whether or not it is commented out.
func TestExampleConfig(t *testing.T) {
	data, err := os.ReadFile("../../../../docs/permafrost.toml")
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	if _, err := parse(text); err != nil {
		t.Error(err)
	}
	c, err := parse(regexp.MustCompile(`(?m)^#([a-z_]+ = |\[)`).ReplaceAllString(text, "$1"))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range settings {
		if s.Key != "" && c[s.Key] == nil {
			t.Errorf("%s is not in the example", s.Key)
		}
	}
}
