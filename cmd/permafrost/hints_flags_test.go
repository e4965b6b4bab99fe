package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A said is what a command says itself: the text of an error and its hint, with … for what depends on the call.
type said struct{ text, hint string }

// commandsOwn returns what the commands say of flags, settings and their own failures, where the code says it.
func commandsOwn(t *testing.T) (all []said) {
	t.Helper()
	var files []string
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go") {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(files, func(a, b string) int { return strings.Compare(filepath.Base(a), filepath.Base(b)) })
	var code []*ast.File
	var names []string
	for _, name := range files {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		code, names = append(code, f), append(names, strings.TrimSuffix(filepath.Base(name), ".go"))
	}
	r := reader{constants(code)}
	for i, f := range code {
		for _, s := range r.file(f) {
			if s.text == "…" || s.text == "…: …" {
				s.text = "(an error of " + names[i] + ")"
			}
			if !slices.Contains(all, s) {
				all = append(all, s)
			}
		}
	}
	return all
}

// constants returns the constants that are texts.
func constants(code []*ast.File) map[string]string {
	texts := make(map[string]string)
	for _, f := range code {
		ast.Inspect(f, func(n ast.Node) bool {
			s, ok := n.(*ast.ValueSpec)
			if !ok {
				return true
			}
			for i, id := range s.Names {
				if i < len(s.Values) && id.Obj != nil && id.Obj.Kind == ast.Con {
					texts[id.Name] = (&reader{}).text(s.Values[i])
				}
			}
			return true
		})
	}
	return texts
}

// A reader turns expressions into the texts that they stand for.
type reader struct{ constants map[string]string }

func (r *reader) file(f *ast.File) (all []said) {
	hinted := make(map[ast.Expr]bool)
	ast.Inspect(f, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		switch name := called(call); {
		case (name == "hint.Wrap" || name == "withHint") && len(call.Args) == 2:
			s := said{r.text(call.Args[0]), r.text(call.Args[1])}
			hinted[call.Args[0]] = true
			if s.hint != "…" {
				all = append(all, s)
			}
		case name == "usage.Errorf" && !hinted[call]:
			if s := (said{text: r.text(call)}); s.text != "…" {
				all = append(all, s)
			}
		}
		return true
	})
	return all
}

// called returns the name of a function that is called, with its package.
func called(call *ast.CallExpr) string {
	switch f := call.Fun.(type) {
	case *ast.Ident:
		return f.Name
	case *ast.SelectorExpr:
		if pkg, ok := f.X.(*ast.Ident); ok {
			return pkg.Name + "." + f.Sel.Name
		}
	}
	return ""
}

// verb is a verb of fmt in a format.
var verb = regexp.MustCompile(`%(\[\d+\])?[-+# 0-9.*]*[a-zA-Z]`)

// text returns what an expression stands for, as far as it can be told without running it.
func (r *reader) text(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.BasicLit:
		if s, err := strconv.Unquote(e.Value); err == nil && e.Kind == token.STRING {
			return s
		}
	case *ast.Ident:
		if s, ok := r.constants[e.Name]; ok {
			return s
		}
	case *ast.SelectorExpr: // a constant of another package
		if s, ok := r.constants[e.Sel.Name]; ok {
			return s
		}
	case *ast.ParenExpr:
		return r.text(e.X)
	case *ast.UnaryExpr:
		return r.text(e.X)
	case *ast.BinaryExpr:
		if e.Op == token.ADD {
			return r.text(e.X) + r.text(e.Y)
		}
	case *ast.CompositeLit: // an error of a type: by its first text, or its parts
		var parts []string
		for _, part := range e.Elts {
			if kv, ok := part.(*ast.KeyValueExpr); ok {
				part = kv.Value
			}
			parts = append(parts, r.text(part))
		}
		slices.Reverse(parts) // MissingKeyError has what is needed before what for
		return strings.Join(parts, " needs ")
	case *ast.CallExpr:
		switch name := called(e); {
		case len(e.Args) > 0 && (name == "usage.Errorf" || name == "fmt.Errorf" || name == "fmt.Sprintf"):
			return strings.ReplaceAll(verb.ReplaceAllString(strings.ReplaceAll(r.text(e.Args[0]), "%%", "\x00"), "…"), "\x00", "%")
		case len(e.Args) == 3 && name == "units.Plural":
			return "… " + r.text(e.Args[2])
		case len(e.Args) == 1 && (name == "errors.New" || name == "error"):
			return r.text(e.Args[0])
		}
	}
	return "…"
}

// What the commands say themselves is short, too.
func TestCommandsOwnHints(t *testing.T) {
	all := commandsOwn(t)
	if len(all) < 40 {
		t.Fatalf("only %d", len(all))
	}
	for _, s := range all {
		if longest(s.hint) > 20 || longest(s.text) > 20 {
			t.Errorf("%d and %d words: %s: %s", longest(s.text), longest(s.hint), s.text, s.hint)
		}
	}
}

// The examples of errors with a cause say what the code says, where that is a text of its own.
func TestExamplesAreTheCodes(t *testing.T) {
	texts := make(map[string][]string) // by cause
	for _, dir := range []string{"source", "internal/sftpstore", "internal/sshconn"} {
		err := filepath.WalkDir("../../"+dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			f, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
			if err == nil {
				caused(f, texts)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	examples, tried := make(map[string]error), 0
	for _, c := range chapters() {
		maps.Copy(examples, c.examples)
	}
	for cause, all := range texts {
		err := examples[cause]
		if err == nil || slices.Contains(all, "…") {
			continue
		}
		tried++
		if !slices.ContainsFunc(all, func(text string) bool {
			pattern := strings.ReplaceAll(regexp.QuoteMeta(text), "…", ".*")
			return regexp.MustCompile(pattern + "$").MatchString(err.Error())
		}) {
			t.Errorf("%s: %q is none of %q", cause, err, all)
		}
	}
	if tried < 50 {
		t.Errorf("only %d examples were compared", tried)
	}
}

// caused adds the texts that a file gives errors with a cause.
func caused(f *ast.File, texts map[string][]string) {
	r := &reader{}
	ast.Inspect(f, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || len(call.Args) < 2 {
			return true
		}
		id, ok := call.Args[0].(*ast.Ident)
		if !ok || !strings.HasPrefix(id.Name, "Cause") {
			return true
		}
		text := "…"
		switch called(call) {
		case "becausef":
			text = verb.ReplaceAllString(r.text(call.Args[1]), "…")
		case "because", "Because", "becauseUnless", "source.Because":
			text = r.text(call.Args[1])
		}
		name := f.Name.Name + "." + id.Name
		texts[name] = append(texts[name], text)
		return true
	})
}
