package main

import (
	"bytes"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"permafrost/cmd/permafrost/internal/hints"
)

var update = flag.Bool("update", false, "write docs/errors.md")

const errorsPage = "../../docs/errors.md"

// chapters are those of the page, each with an error of each kind that some packages export, and why some have no hint.
func chapters() []chapter {
	return []chapter{
		{"The repository", repositoryExamples(), repositoryHintless()},
		{"The storage, and directories on this machine", storageExamples(), storageHintless()},
		{"The Mastodon host", sourceExamples(), sourceHintless()},
		{"PostgreSQL, Redis and containers", serverExamples(), nil},
		{"Making, reading and restoring a snapshot", snapshotExamples(), nil},
	}
}

type chapter struct {
	title    string
	examples map[string]error  // by name; nil for one that is never told as it is
	hintless map[string]string // by name
}

// Each error that the packages below the commands export has a hint of short sentences, or a reason to have none.
func TestEveryErrorHasAHint(t *testing.T) {
	examples, hintless := make(map[string]error), make(map[string]string)
	for _, c := range chapters() {
		maps.Copy(examples, c.examples)
		maps.Copy(hintless, c.hintless)
	}
	exported := exportedErrors(t)
	for name := range examples {
		if !slices.Contains(exported, name) && name != "syscall.EROFS" {
			t.Errorf("there is no %s", name)
		}
	}
	for _, name := range exported {
		err, ok := examples[name]
		if !ok {
			t.Errorf("%s has no example", name)
			continue
		}
		switch _, none := hintless[name]; {
		case hints.Last(err) == "" && !none:
			t.Errorf("%s has no hint", name)
		case strings.Contains(hints.Last(err), "{"):
			t.Errorf("%s lacks a fact: %s", name, hints.Last(err))
		case longest(hints.Last(err)) > 20:
			t.Errorf("%s has a hint with a sentence of %d words: %s", name, longest(hints.Last(err)), hints.Last(err))
		case hints.Last(err) != "" && none:
			t.Errorf("%s has a hint, and is among those that have none", name)
		}
	}
}

// longest returns the number of words of the longest sentence.
func longest(text string) (words int) {
	for sentence := range strings.SplitSeq(text, ". ") {
		words = max(words, len(strings.Fields(sentence)))
	}
	return words
}

// docs/errors.md has each error and its hint, as the program tells them.
func TestErrorsAreDocumented(t *testing.T) {
	var out bytes.Buffer
	out.WriteString(`# Errors and hints

The errors that the packages below the commands name, each by an example, with the exit code and the hint that permafrost
tells with it. Where a command says more, its hint goes first.

Made of the tables in cmd/permafrost/internal/hints by ` + "`go test ./cmd/permafrost -run TestErrorsAreDocumented -update`" + `.
`)
	cell := strings.NewReplacer("|", `\|`, "\n", " ")
	for _, c := range chapters() {
		fmt.Fprintf(&out, "\n## %s\n\n| error | exit code | hint |\n|---|---|---|\n", c.title)
		for _, name := range slices.Sorted(maps.Keys(c.examples)) {
			err := c.examples[name]
			if err == nil {
				continue
			}
			h := hints.Last(err)
			if h == "" {
				h = "(" + c.hintless[name] + ")"
			}
			fmt.Fprintf(&out, "| %s | %d | %s |\n", cell.Replace(err.Error()), exitCode(err), cell.Replace(h))
		}
	}
	out.WriteString("\n## Flags, settings and commands\n\n… stands for what depends on the call. An error without a hint says itself what to type.\n\n| error | hint |\n|---|---|\n")
	for _, s := range commandsOwn(t) {
		fmt.Fprintf(&out, "| %s | %s |\n", cell.Replace(s.text), cell.Replace(s.hint))
	}
	if *update {
		if err := os.WriteFile(errorsPage, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if have, err := os.ReadFile(errorsPage); err != nil || !bytes.Equal(have, out.Bytes()) {
		t.Errorf("%s is not what the table says (%v): run this test with -update", errorsPage, err)
	}
}

// exportedErrors returns the names of all error types, error values, causes and rights that packages below the commands export.
func exportedErrors(t *testing.T) (names []string) {
	for _, top := range []string{"chunk", "repo", "snapshot", "source", "internal"} {
		err := filepath.WalkDir("../../"+top, func(path string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case d.IsDir() && slices.Contains(strings.Fields("sandbox storetest testdata"), d.Name()):
				return fs.SkipDir
			case !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
				return nil
			}
			f, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
			if err == nil {
				for _, name := range errorsIn(f) {
					names = append(names, f.Name.Name+"."+name)
				}
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(names) < 30 {
		t.Fatalf("only %d errors", len(names))
	}
	return names
}

// errorsIn returns the errors that a file exports.
func errorsIn(f *ast.File) (names []string) {
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Recv != nil && d.Name.Name == "Error" {
				recv := d.Recv.List[0].Type
				if star, ok := recv.(*ast.StarExpr); ok {
					recv = star.X
				}
				if id, ok := recv.(*ast.Ident); ok && id.IsExported() {
					names = append(names, id.Name)
				}
			}
		case *ast.GenDecl:
			for _, s := range d.Specs {
				v, ok := s.(*ast.ValueSpec)
				if !ok {
					continue
				}
				kind, _ := v.Type.(*ast.Ident)
				if of, ok := v.Type.(*ast.SelectorExpr); ok {
					kind = of.Sel
				}
				for _, id := range v.Names {
					if strings.HasPrefix(id.Name, "Err") && d.Tok == token.VAR || kind != nil && (kind.Name == "Cause" || kind.Name == "Right") {
						names = append(names, id.Name)
					}
				}
			}
		}
	}
	return names
}
