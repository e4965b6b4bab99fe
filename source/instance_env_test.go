package source

import (
	"maps"
	"strings"
	"testing"
	"testing/quick"
)

// envCases are also the seeds of FuzzParseEnv.
var envCases = []struct {
	name, text string
	want       map[string]string
}{
	{"empty", "", nil},
	{"blank and comments", "\n \t\n# A=1\n  # B=2\n", nil},
	{"plain", "A=1\nB = 2\nC= 3 \n  D=4", map[string]string{"A": "1", "B": "2", "C": "3", "D": "4"}},
	{"empty value", "A=\nB=''\nC=\"\"\nD= # x\n", map[string]string{"A": "", "B": "", "C": "", "D": ""}},
	{"yaml style", "A: 1\nB:\t2\nC:\n", map[string]string{"A": "1", "B": "2", "C": ""}},
	{"export", "export A=1\nexport\tB='2'\nC=3\nexport A C # both\n", map[string]string{"A": "1", "B": "2", "C": "3"}},
	{"export before it is set", "export A\nA=1\n", map[string]string{"A": "1"}},
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
			if len(e.commands) != 0 {
				t.Errorf("commands seen: %v", e.commands)
			}
		})
	}
}

// An error names the line and never shows what stands there: it may be a password.
func TestParseEnvErrors(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"words", "A=1\n\nhunter2 is secret\n", "line 3: not an assignment"},
		{"no name", "=hunter2", "line 1: not an assignment"},
		{"dash in the name", "A-B=hunter2", "line 1: not an assignment"},
		{"colon without a space", "A:hunter2", "line 1: not an assignment"},
		{"open double quote", "A=1\nB=\"hunter2\nC=3\n", "line 2: a quote is not closed"},
		{"open single quote", "A='hunter2", "line 1: a quote is not closed"},
		{"after lines in quotes", "A='1\n2\n3'\nhunter2", "line 4: not an assignment"},
		{"unset export", "A=1\nexport A hunter2\n", "line 2: a variable is exported"},
		{"not UTF-8", "A=1\nB=hunter2\xff\n", "line 2: not UTF-8 text"},
		{"NUL", "A=\"hunter2\n\x00\"", "line 1: not UTF-8 text"},
		{"doubling", "A=hunter2\n" + strings.Repeat("A=$A$A\n", 40), "a value is longer than"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := parseEnv([]byte(c.text))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got error %v, want %q", err, c.want)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error shows the file's content: %v", err)
			}
		})
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
	if e.err == nil || !strings.Contains(e.err.Error(), "line 2: B holds a shell command") {
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
