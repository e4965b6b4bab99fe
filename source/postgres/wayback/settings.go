package wayback

import (
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"permafrost/source/postgres/archive"
	"permafrost/source/postgres/quote"
)

// A dump says what was set for the database and not in it, by its name: settings, also those of a role in it, its comment, and who
// may connect. The restored database has another name for a while. So these statements are taken apart into tokens, and put
// together with a variable of psql in the name's place. psql finds no command of its own in them: what could begin one is within
// quotes, or the statement is not taken.

// restoredName is the variable of psql with the name of the restored database.
const restoredName = `:"new"`

// token matches one token of the statements that pg_dump writes: a blank, a word, an identifier in quotes, a literal, a mark.
var token = regexp.MustCompile(`^(?s:\s+|E'(?:[^'\\]|''|\\.)*'|[A-Za-z_][A-Za-z0-9_$]*|-?[0-9]+|"(?:[^"]|"")+"|'(?:[^']|'')*'|[=,.;])`)

// splitStatements takes apart text into statements, and those into tokens. A statement that has anything else ends the text: it is not there, nor
// is what follows, and whole is false.
func splitStatements(text string) (statements [][]string, whole bool) {
	var s []string
	for text != "" {
		t := token.FindString(text)
		if t == "" {
			return statements, false
		}
		text = text[len(t):]
		switch {
		case t == ";":
			if len(s) > 0 {
				statements = append(statements, s)
			}
			s = nil
		case strings.Trim(t, " \t\r\n\f\v") != "":
			s = append(s, t)
		}
	}
	return statements, len(s) == 0
}

// settingsSQL returns the statements about the database as such, for the one that psql's variable new names. It tells how many
// statements it can't take over.
func settingsSQL(c *archive.Contents) (sql string, leftOut int) {
	var b strings.Builder
	b.WriteString(sqlHead)
	for i := range c.Kept {
		e := &c.Kept[i]
		if e.Kind == "DATABASE" || e.Kind == "EXTENSION" {
			continue
		}
		statements, whole := splitStatements(e.Definition)
		if !utf8.ValidString(e.Definition) {
			statements, whole = nil, false
		}
		if !whole {
			leftOut++
		}
		for _, s := range statements {
			if renamed := rename(s, c.Database); renamed != "" {
				b.WriteString(renamed + ";\n")
			} else {
				leftOut++
			}
		}
	}
	return b.String(), leftOut
}

// rename returns a statement about a database as one about the restored one; "" where it is about something else.
func rename(tokens []string, database string) string {
	tokens = slices.Clone(tokens)
	for i, t := range tokens {
		if t == "DATABASE" && i+1 < len(tokens) && (tokens[i+1] == database || tokens[i+1] == quote.Identifier(database)) {
			tokens[i+1] = restoredName
			return strings.Join(tokens, " ")
		}
	}
	return ""
}
