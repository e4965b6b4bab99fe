package keeper_test

import (
	"bytes"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/json.md")

const (
	top  = "../.."
	page = top + "/docs/json.md"
)

// docs/json.md has each message and each of its members, as the types and their comments say.
func TestMessagesAreDocumented(t *testing.T) {
	w := &world{t: t, pkgs: make(map[string]*pkg)}
	var out bytes.Buffer
	out.WriteString(preface)
	messages := w.messages()
	if len(messages) < 25 {
		t.Fatalf("%d messages", len(messages))
	}
	for _, m := range messages {
		fmt.Fprintf(&out, "\n## %s\n\n%s\n", m.typ, prose(m.decl.doc))
		w.members(&out, m.decl)
	}
	out.WriteString("\n# Objects in messages\n")
	for i := 0; i < len(w.queue); i++ { // it grows
		d := w.queue[i]
		fmt.Fprintf(&out, "\n## %s\n\n%s\n", d, prose(d.doc))
		w.members(&out, d)
	}
	if *update {
		if err := os.WriteFile(page, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, out.Bytes()) {
		t.Errorf("%s is not what the types say: run go test ./internal/keeper -update", page)
	}
}

const preface = `# What --json writes

With --json a command writes one JSON object a line: what was asked for to standard output; warnings, what age plugins say, and
the error with which it ends to standard error. Each object has the member message_type, which the headings below name; where
several commands write a message of one type, each has its own members. A member that is "optional" may be absent. Times are as RFC 3339 has
them. Members may be added in later versions; none changes its name or its meaning.

Made of the types in internal/keeper by ` + "`go test ./internal/keeper -update`" + `.

# Messages
`

// units are what a number of a message may be of; "number" is for what is not counted or measured.
var units = strings.Fields("bytes seconds files objects packs blobs snapshots problems number")

// A world is the packages that the types of messages lead to.
type world struct {
	t     *testing.T
	pkgs  map[string]*pkg
	queue []*decl // of objects in messages, in the order in which they were met
}

// A pkg is a package's declarations of types.
type pkg struct {
	path  string
	types map[string]*decl
	says  map[string]string // what MessageType returns, by the type's name
	texts map[string]bool   // types that have a form of their own in JSON
}

// A decl is the declaration of a type.
type decl struct {
	pkg     *pkg
	name    string
	doc     string
	typ     ast.Expr
	imports map[string]string // import paths by the names under which the file knows them
}

// String returns the type's name in Go, as other packages write it.
func (d *decl) String() string { return filepath.Base(d.pkg.path) + "." + d.name }

type message struct {
	typ  string
	decl *decl
}

func (w *world) messages() (all []message) {
	p := w.load("permafrost/internal/keeper")
	for _, name := range slices.Sorted(maps.Keys(p.says)) {
		all = append(all, message{p.says[name], p.types[name]})
	}
	slices.SortStableFunc(all, func(a, b message) int { return strings.Compare(a.typ, b.typ) })
	return all
}

// load parses the package of an import path.
func (w *world) load(path string) *pkg {
	if p := w.pkgs[path]; p != nil {
		return p
	}
	p := &pkg{path, make(map[string]*decl), make(map[string]string), make(map[string]bool)}
	w.pkgs[path] = p
	files, err := filepath.Glob(filepath.Join(top, strings.TrimPrefix(path, "permafrost"), "*.go"))
	if err != nil || len(files) == 0 {
		w.t.Fatalf("%s has no files: %v", path, err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			w.t.Fatal(err)
		}
		p.add(f)
	}
	return p
}

func (p *pkg) add(f *ast.File) {
	imports := make(map[string]string)
	for _, i := range f.Imports {
		path, _ := strconv.Unquote(i.Path.Value)
		imports[filepath.Base(path)] = path
	}
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *ast.GenDecl:
			for _, s := range d.Specs {
				if s, ok := s.(*ast.TypeSpec); ok {
					doc := s.Doc.Text()
					if doc == "" {
						doc = d.Doc.Text()
					}
					p.types[s.Name.Name] = &decl{p, s.Name.Name, doc, s.Type, imports}
				}
			}
		case *ast.FuncDecl:
			p.method(d)
		}
	}
}

// method notes what a type's method means for its JSON.
func (p *pkg) method(d *ast.FuncDecl) {
	if d.Recv == nil {
		return
	}
	recv := d.Recv.List[0].Type
	if star, ok := recv.(*ast.StarExpr); ok {
		recv = star.X
	}
	id, ok := recv.(*ast.Ident)
	if !ok {
		return
	}
	switch d.Name.Name {
	case "MessageType":
		p.says[id.Name], _ = strconv.Unquote(d.Body.List[0].(*ast.ReturnStmt).Results[0].(*ast.BasicLit).Value)
	case "MarshalJSON", "MarshalText":
		p.texts[id.Name] = true
	}
}

// members writes the table of a type's members.
func (w *world) members(out *bytes.Buffer, d *decl) {
	s, ok := d.typ.(*ast.StructType)
	if !ok {
		w.t.Fatalf("%s is no struct", d)
	}
	out.WriteString("\n| member | type | unit | meaning |\n|---|---|---|---|\n")
	w.fields(out, d, s)
}

func (w *world) fields(out *bytes.Buffer, d *decl, s *ast.StructType) {
	for _, f := range s.Fields.List {
		tag := ""
		if f.Tag != nil {
			text, _ := strconv.Unquote(f.Tag.Value)
			tag = reflect.StructTag(text).Get("json")
		}
		name, options, _ := strings.Cut(tag, ",")
		switch {
		case name == "-", len(f.Names) > 0 && !f.Names[0].IsExported():
			continue
		case len(f.Names) == 0 && name == "":
			if e := w.declOf(d, f.Type); e != nil {
				w.fields(out, e, e.typ.(*ast.StructType))
			}
			continue
		case name == "":
			w.t.Errorf("%s.%s has no JSON tag", d, f.Names[0])
			continue
		}
		typ := w.typeText(d, f.Type)
		unit, meaning, found := strings.Cut(strings.TrimSpace(f.Comment.Text()), ": ")
		if !found || !slices.Contains(units, unit) {
			unit, meaning = "", strings.TrimSpace(f.Comment.Text())
			if typ == "number" && d.pkg.path == "permafrost/internal/keeper" {
				w.t.Errorf("the comment of %s.%s does not begin with a unit", d, f.Names[0])
			}
		}
		if unit == "number" {
			unit = ""
		}
		if doc := prose(f.Doc.Text()); doc != "" {
			meaning = strings.TrimSpace(doc + " " + meaning)
		}
		if strings.Contains(options, "omit") {
			typ += ", optional"
		}
		fmt.Fprintf(out, "| `%s` | %s | %s | %s |\n", name, typ, unit, prose(strings.ReplaceAll(meaning, "|", "\\|")))
	}
}

// declOf returns the declaration of a type that is named, nil for any other.
func (w *world) declOf(d *decl, e ast.Expr) *decl {
	switch e := e.(type) {
	case *ast.StarExpr:
		return w.declOf(d, e.X)
	case *ast.Ident:
		return d.pkg.types[e.Name]
	case *ast.SelectorExpr:
		path := d.imports[e.X.(*ast.Ident).Name]
		if strings.HasPrefix(path, "permafrost/") {
			return w.load(path).types[e.Sel.Name]
		}
	}
	return nil
}

// typeText says in words what a type is in JSON.
func (w *world) typeText(d *decl, e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return w.typeText(d, e.X)
	case *ast.ArrayType:
		if id, ok := e.Elt.(*ast.Ident); ok && id.Name == "byte" {
			return "text in base64"
		}
		return "list of " + w.typeText(d, e.Elt)
	case *ast.MapType:
		return "members of any name, each " + w.typeText(d, e.Value)
	case *ast.SelectorExpr:
		if e.X.(*ast.Ident).Name == "time" && e.Sel.Name == "Time" {
			return "time"
		}
	case *ast.Ident:
		if text := plain(e.Name); text != "" {
			return text
		}
	}
	n := w.declOf(d, e)
	switch {
	case n == nil:
		w.t.Fatalf("%s has a member of an unknown type %v", d, e)
	case n.String() == "snapshot.Text":
		return "text, or {base64} where it is not UTF-8"
	case n.pkg.texts[n.name]:
		return "text"
	}
	if _, ok := n.typ.(*ast.StructType); !ok {
		return w.typeText(n, n.typ)
	}
	if !slices.Contains(w.queue, n) {
		w.queue = append(w.queue, n)
	}
	return "object " + n.String()
}

// plain says in words what a type of Go's own is in JSON, "" for any other.
func plain(name string) string {
	switch name {
	case "string":
		return "text"
	case "bool":
		return "true or false"
	case "int", "int64", "int32", "uint8", "uint16", "uint32", "uint64", "float64":
		return "number"
	}
	return ""
}

// prose returns a comment as one paragraph.
func prose(comment string) string { return strings.Join(strings.Fields(comment), " ") }
