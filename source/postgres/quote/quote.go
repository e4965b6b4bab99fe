// Package quote writes names and texts as PostgreSQL reads them, and reads what it wrote.
package quote

import (
	"fmt"
	"regexp"
	"strings"
)

// plainName matches identifiers that mean themselves without quotes.
var plainName = regexp.MustCompile(`^[a-z_][a-z0-9_]*$`)

// TableName returns schema and name of a table as one text: schema.table, each between double quotes where it is no plain
// word. No two tables have the same.
func TableName(schema, table string) string { return Name(schema) + "." + Name(table) }

// Name returns a name as SQL has it: between double quotes where it is no plain word.
func Name(s string) string {
	if plainName.MatchString(s) {
		return s
	}
	return Identifier(s)
}

// ParseTableName takes apart what TableName returned.
func ParseTableName(s string) (schema, table string, err error) {
	schema, rest, ok := Cut(s)
	if rest, found := strings.CutPrefix(rest, "."); ok && found {
		if table, rest, ok = Cut(rest); ok && rest == "" {
			return schema, table, nil
		}
	}
	return "", "", fmt.Errorf("%.200q is not the name of a table with its schema", s)
}

// Cut takes a name from the front of a text.
func Cut(s string) (name, rest string, ok bool) {
	if !strings.HasPrefix(s, `"`) {
		if i := strings.IndexByte(s, '.'); i >= 0 {
			name, rest = s[:i], s[i:]
		} else {
			name = s
		}
		return name, rest, plainName.MatchString(name)
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		if s[i] != '"' {
			b.WriteByte(s[i])
			continue
		}
		if i+1 == len(s) || s[i+1] != '"' {
			return b.String(), s[i+1:], b.Len() > 0
		}
		b.WriteByte('"')
		i++
	}
	return "", "", false
}

// Identifier returns a name as an identifier of SQL.
func Identifier(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// Literal returns a text as a literal of SQL. It takes standard_conforming_strings to be on.
func Literal(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }
