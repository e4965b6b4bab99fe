package main

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// A docMember is a row of a table in docs/json.md.
type docMember struct {
	typ      string
	optional bool
}

// A docObject is a heading of docs/json.md with its table.
type docObject map[string]docMember

// documented returns the objects that docs/json.md has, by heading. Several messages may be of one type.
var documented = sync.OnceValues(func() (map[string][]docObject, error) {
	page, err := os.ReadFile("../../docs/json.md")
	if err != nil {
		return nil, err
	}
	objects := make(map[string][]docObject)
	row := regexp.MustCompile("(?m)^\\| `([^`]+)` \\| ([^|]+) \\|")
	for _, section := range strings.Split(string(page), "\n## ")[1:] {
		heading, body, _ := strings.Cut(section, "\n")
		o := make(docObject)
		for _, m := range row.FindAllStringSubmatch(body, -1) {
			typ, optional := strings.CutSuffix(m[2], ", optional")
			o[m[1]] = docMember{typ, optional}
		}
		objects[heading] = append(objects[heading], o)
	}
	return objects, nil
})

// checkMessages holds what a command wrote as JSON to docs/json.md: each line is a message that stands there, with all
// its members and no other.
func checkMessages(t *testing.T, args []string, r result) {
	t.Helper()
	objects, err := documented()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(r.stdout + r.stderr) {
		if !strings.HasPrefix(line, `{"message_type":`) {
			continue
		}
		var v map[string]any
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Errorf("permafrost %s: %v: %s", strings.Join(args, " "), err, line)
			continue
		}
		typ, _ := v["message_type"].(string)
		delete(v, "message_type")
		wrong := "no message has this type"
		for _, o := range objects[typ] {
			if wrong = o.differs(objects, v); wrong == "" {
				break
			}
		}
		if wrong != "" {
			t.Errorf("permafrost %s: docs/json.md says otherwise: %s: %s", strings.Join(args, " "), wrong, line)
		}
	}
}

// differs says in what an object is not the one that is documented, "" where it is.
func (o docObject) differs(objects map[string][]docObject, v map[string]any) string {
	for name, m := range o {
		if _, ok := v[name]; !ok && !m.optional {
			return name + " is missing"
		}
	}
	for name, value := range v {
		m, ok := o[name]
		if !ok {
			return name + " is not documented"
		}
		if wrong := typeDiffers(objects, m.typ, value); wrong != "" {
			return name + ": " + wrong
		}
	}
	return ""
}

// typeDiffers says in what a value is not of the type that is documented.
func typeDiffers(objects map[string][]docObject, typ string, value any) string {
	fits := value == nil // an empty list or map of Go's
	if rest, ok := strings.CutPrefix(typ, "list of "); ok {
		list, is := value.([]any)
		for _, each := range list {
			if wrong := typeDiffers(objects, rest, each); wrong != "" {
				return wrong
			}
		}
		fits = fits || is
	} else if rest, ok := strings.CutPrefix(typ, "members of any name, each "); ok {
		members, is := value.(map[string]any)
		for _, each := range members {
			if wrong := typeDiffers(objects, rest, each); wrong != "" {
				return wrong
			}
		}
		fits = fits || is
	} else if name, ok := strings.CutPrefix(typ, "object "); ok {
		if object, is := value.(map[string]any); is {
			return objects[name][0].differs(objects, object)
		}
	} else {
		switch value.(type) {
		case string:
			fits = typ == "time" || strings.HasPrefix(typ, "text")
		case bool:
			fits = typ == "true or false"
		case float64:
			fits = typ == "number"
		case map[string]any:
			fits = strings.Contains(typ, "{base64}")
		}
	}
	if !fits {
		return "it is not " + typ
	}
	return ""
}

// A line that differs from what is documented is found.
func TestMessagesDiffer(t *testing.T) {
	objects, err := documented()
	if err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string]string{
		`{"entry":7,"signer":"web","why":"x"}`:           "",
		`{"entry":7,"signer":"web"}`:                     "why is missing",
		`{"entry":"7","signer":"web","why":"x"}`:         "entry: it is not number",
		`{"entry":7,"signer":"web","why":"x","more":""}`: "more is not documented",
	} {
		var v map[string]any
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatal(err)
		}
		if got := objects["request"][0].differs(objects, v); got != want {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}
}
