package source

import (
	"maps"
	"strings"
	"testing"
	"testing/quick"
)

// parseEnv reads the text of one settings file.
func parseEnv(data []byte) (*environ, error) {
	e := newEnviron()
	return e, e.parse("", data)
}

// envCases are what dotenv 3.2.0 itself makes of these texts. They are also the seeds of FuzzParseEnv.
var envCases = []struct {
	name, text string
	want       map[string]string
}{
	{"empty", "", nil},
	{"blank and comments", "\n \t\n# A=1\n  # B=2\n", nil},
	{"plain", "A=1\nB = 2\nC= 3 \n  D=4", map[string]string{"A": "1", "B": "2", "C": "3", "D": "4"}},
	{"empty value", "A=\nB=''\nC=\"\"\nD= # x\n", map[string]string{"A": "", "B": "", "C": "", "D": ""}},
	{"yaml style", "A: 1\nB:\t2\nC:\n", map[string]string{"A": "1", "B": "2", "C": ""}},
	{"export", "export A=1\nexport\tB='2'\nC=3\nexport C # again\n", map[string]string{"A": "1", "B": "2", "C": "3"}},
	{"names", "a.b_C9=1\nexported=2\n", map[string]string{"a.b_C9": "1", "exported": "2"}},
	{"comment behind a value", "A=1 # x\nB=1#x\nC='1#x' # y\nD=\"1#x\"#y\nE=#x\n", map[string]string{"A": "1", "B": "1", "C": "1#x", "D": "1#x", "E": ""}},
	{"last wins", "A=1\nA=2\n", map[string]string{"A": "2"}},
	{"single quotes keep all", `A='$B \n \" "x"'`, map[string]string{"A": `$B \n \" "x"`}},
	{"double quotes", `A="a \"b\" 'c' \\ \$d \n"`, map[string]string{"A": `a "b" 'c' \ $d \n`}},
	{"escaped quote in single quotes", `A='it\'s'`, map[string]string{"A": `it\'s`}},
	{"a backslash at the end of quotes", "A='C:\\'\nB='x'\n", map[string]string{"A": `C:\`, "B": "x"}},
	{"unquoted backslash", `A=a\ b\\c`, map[string]string{"A": `a b\c`}},
	{"more behind the quotes", `A="b"c`, map[string]string{"A": `"b"c`}},
	{"two quoted words", `A='b' 'c'`, map[string]string{"A": `b' 'c`}},
	{"lines in quotes", "A='1\n2'\nB=\"3\n4\" # x\nC=5\n", map[string]string{"A": "1\n2", "B": "3\n4", "C": "5"}},
	{"variables", "A=x\nB=$A-${A}y\nC=\"$A\"\nD='$A'\nE=$none.\n", map[string]string{"A": "x", "B": "x-xy", "C": "x", "D": "$A", "E": "."}},
	{"dollars alone", `A="b $ "` + "\nB=p$$w\nC=\\$x\n", map[string]string{"A": "b $ ", "B": "p$", "C": "$x"}},
	{"line ends", "A=1\r\nB=2\rC=3\n", map[string]string{"A": "1", "B": "2", "C": "3"}},
	{"byte order mark", "\uFEFFA=1\n", map[string]string{"A": "1"}},
	{"open quotes", "A='x7!k\nB=\"y\nC=3\n", map[string]string{"A": "'x7!k", "B": "\"y", "C": "3"}},
	{"a quote that a later line closes", "A='x7!k\nB=2'\nC=3\n", map[string]string{"A": "x7!k\nB=2", "C": "3"}},
	{"a quote that a later line closes before its end", "A='x7!k\nB='Mastodon <a@b>'\n", map[string]string{"A": "'x7!k", "B": "Mastodon <a@b>"}},
	{"a bare name", "AWS_ACCESS_KEY_ID\nA=1\n", map[string]string{"AWS_ACCESS_KEY_ID": "", "A": "1"}},
	{"what is skipped", "=======\n[smtp]\nA=1\nhunter2 is secret\nB-C=2\nD:3\n=4\n<<<<<<< HEAD\nexport A B\n", map[string]string{"A": "1"}},
	{"a space within a name", "MY KEY=1\nB=2\n", map[string]string{"B": "2"}},
	{"a value on the next line", "A=\n'1'\nB=\n2\n", map[string]string{"A": "1", "B": "", "2": ""}},
	{"a separator behind lines", "A\n=1\n", map[string]string{"A": "1"}},
	{"a lone word export", "export\nA=1\n", map[string]string{"A": "1"}},
	{"parentheses", "A=$(\nB=$()\nC=\\$(d)$A\nE=${}$\nF=${A\nG=$A}\n", map[string]string{"A": "$(", "B": "$()", "C": "$(d)$(", "E": "${}$", "F": "$(", "G": "$("}},
	{"line ends asked for", "DOTENV_LINEBREAK_MODE=legacy\nA=\"1\\n2\"\n", map[string]string{"DOTENV_LINEBREAK_MODE": "legacy", "A": "1\n2"}},
	{"unicode", "A=é\nB=\"日本\"\n", map[string]string{"A": "é", "B": "日本"}},
}

func TestParseEnv(t *testing.T) {
	for _, c := range envCases {
		t.Run(c.name, func(t *testing.T) {
			e, err := parseEnv([]byte(c.text))
			if err != nil {
				t.Fatal(err)
			}
			if !maps.Equal(e.values, c.want) {
				t.Errorf("got %q, want %q", e.values, c.want)
			}
			if len(e.doubts) != 0 {
				t.Errorf("doubts: %v", e.doubts)
			}
		})
	}
}

// What dotenv skips, or what Mastodon does not start with, is told by its line, and never shown: it may be a password.
func TestParseEnvWarnings(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"words", "A=1\n\nhunter2 is secret\n", "line 3: not an assignment"},
		{"no name", "=hunter2", "line 1: not an assignment"},
		{"dash in the name", "A-B=hunter2", "line 1: not an assignment"},
		{"colon without a space", "A:hunter2", "line 1: not an assignment"},
		{"section", "A=1\n[hunter2]\nB=2\n", "line 2: not an assignment"},
		{"conflict", "A=1\n=======\nB=2\n", "line 2: not an assignment"},
		{"open double quote", "A=1\nB=\"hunter2\nC=3\n", "line 2: a quote before the value of B is not closed"},
		{"open single quote", "A='hunter2", "line 1: a quote before the value of A is not closed"},
		{"after lines in quotes", "A='1\n2\n3'\n-hunter2", "line 4: not an assignment"},
		{"unset export", "A=1\nexport hunter2\n", "line 2: a variable is exported"},
	} {
		t.Run(c.name, func(t *testing.T) {
			e, err := parseEnv([]byte(c.text))
			if err != nil {
				t.Fatal(err)
			}
			if len(e.warnings) != 1 || !strings.Contains(e.warnings[0], c.want) {
				t.Fatalf("told %q, want %q", e.warnings, c.want)
			}
			if strings.Contains(e.warnings[0], "hunter2") {
				t.Errorf("the file's content is shown: %s", e.warnings[0])
			}
		})
	}
	e, err := parseEnv([]byte(strings.Repeat("= \n", 1000)))
	if err != nil || len(e.warnings) != maxEnvWarnings {
		t.Errorf("%d warnings, %v", len(e.warnings), err)
	}
}

// What can't be known is an error where it is asked for, and names the variable and its line.
func TestParseEnvDoubts(t *testing.T) {
	e, err := parseEnv([]byte("A=fine\nB=hunter2\xff\nC=\"hunter2\n\x00\"\nD=x$B\n"))
	if err != nil || e.get("A") != "fine" || e.err != nil {
		t.Fatal(err, e.err)
	}
	for name, want := range map[string]string{"B": "B is no text on line 2", "C": "C is no text on line 3", "D": "D holds B, which is not known, on line 5"} {
		e.err = nil
		e.get(name)
		if e.err == nil || e.err.Error() != want {
			t.Errorf("%s: %v, want %q", name, e.err, want)
		}
	}
	if _, err := parseEnv([]byte("A=hunter2\n" + strings.Repeat("A=$A$A\n", 40))); err == nil || !strings.Contains(err.Error(), "a value is longer than") {
		t.Errorf("doubling: %v", err)
	}
}

// Of several files the first that sets a variable counts, and later ones see what it said.
func TestParseEnvFiles(t *testing.T) {
	e := newEnviron()
	for _, f := range []struct{ name, text string }{
		{".env.production.local", "A=1\nX=$(x)\n"}, {".env.local", "B=2\nA=no\n"}, {"", "C=$A$B\nB=no\nY=$X\n=\n"}, {".env", "D=$C\nC=no\n=\n"},
	} {
		if err := e.parse(f.name, []byte(f.text)); err != nil {
			t.Fatal(err)
		}
	}
	if got := e.get("A") + e.get("B") + " " + e.get("C") + " " + e.get("D"); got != "12 12 12" || e.err != nil {
		t.Errorf("got %q, %v", got, e.err)
	}
	if e.get("Y"); e.err == nil || !strings.Contains(e.err.Error(), "Y holds X, which is not known, on line 3") {
		t.Errorf("got %v", e.err)
	}
	if len(e.warnings) != 2 || !strings.HasPrefix(e.warnings[0], "line 4: ") || !strings.HasPrefix(e.warnings[1], "line 3 of .env: ") {
		t.Errorf("told %q", e.warnings)
	}
}

// A command is an error where its value would be used, and only there.
func TestParseEnvCommand(t *testing.T) {
	e, err := parseEnv([]byte("A=$(hostname)\nB=x$A\nC='$(c)'\nD=\\$(d)\nE=\"$(e)\"\nE=plain\n"))
	if err != nil {
		t.Fatal(err)
	}
	if got := e.get("C") + e.get("D") + e.get("E"); got != "$(c)$(d)plain" || e.err != nil {
		t.Errorf("C, D, E = %q, error %v", got, e.err)
	}
	e.get("B")
	if e.err == nil || !strings.Contains(e.err.Error(), "B holds A, which is not known, on line 2") {
		t.Errorf("error %v", e.err)
	}
}

func TestParseEnvQuotedRoundTrip(t *testing.T) {
	escape := strings.NewReplacer(`\`, `\\`, `"`, `\"`, `$`, `\$`, "\r", "")
	check := func(s string) bool {
		s = strings.ReplaceAll(strings.ToValidUTF8(s, ""), "\x00", "")
		if strings.ContainsAny(s, "\r") || strings.Contains(s, `\`) {
			return true // dotenv has no way to write every one of those
		}
		e, err := parseEnv([]byte(`A="` + escape.Replace(s) + `"`))
		return err == nil && e.values["A"] == s
	}
	if err := quick.Check(check, nil); err != nil {
		t.Error(err)
	}
}
