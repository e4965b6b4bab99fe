package wayback

import (
	"fmt"
	"strings"

	"permafrost/source/postgres/archive"
	"permafrost/source/postgres/quote"
)

// Without a superuser all that is restored belongs to the instance's role, and nothing is granted to others. The files below say
// what was otherwise.

// ownersList returns names of roles as pg_restore lists them, one a line.
func ownersList(owners []string) string {
	var b strings.Builder
	for _, name := range owners {
		b.WriteString(oneLine(name) + "\n")
	}
	return b.String()
}

// othersList returns those objects of the dump that belong to somebody else than a role: a line for each, with its ID, its name as
// pg_restore lists it, and its owner. What belongs to a role of PostgreSQL's own does so again.
func othersList(owned []archive.Entry, own string) string {
	var b strings.Builder
	for i := range owned {
		e := &owned[i]
		if e.Owner == "" || e.Owner == own || strings.HasPrefix(e.Owner, "pg_") {
			continue
		}
		schema := e.Schema
		if schema == "" {
			schema = "-"
		}
		fmt.Fprintf(&b, "%d; %s %s %s, of %s\n", e.ID, e.Kind, oneLine(schema), oneLine(e.Tag), oneLine(e.Owner))
	}
	return b.String()
}

// grantsList returns the statements that grant something to others than a role, or take it from them: a line for each. The role
// owns all that is restored, and needs no grant.
func grantsList(grants []archive.Entry, own string) string {
	var b strings.Builder
	for i := range grants {
		e := &grants[i]
		for _, statement := range splitGrants(e.Definition) {
			words := strings.TrimSuffix(statement, " WITH GRANT OPTION")
			if strings.Contains(words, " SESSION AUTHORIZATION ") || isAbout(words, own) || isAbout(words, e.Owner) && strings.HasPrefix(words, "REVOKE ") {
				continue
			}
			b.WriteString(oneLine(statement) + ";\n")
		}
	}
	return b.String()
}

// splitGrants takes apart statements, each of which ends in a semicolon that is in no name.
func splitGrants(text string) (statements []string) {
	quoted, begin := false, 0
	for i := range len(text) {
		switch {
		case text[i] == '"':
			quoted = !quoted
		case text[i] == ';' && !quoted:
			statements = append(statements, strings.TrimSpace(text[begin:i]))
			begin = i + 1
		}
	}
	return statements
}

// isAbout reports whether a grant is made to a role, or taken from it.
func isAbout(grant, role string) bool {
	return strings.HasSuffix(grant, " "+role) || strings.HasSuffix(grant, " "+quote.Identifier(role))
}

func oneLine(s string) string { return strings.NewReplacer("\n", " ", "\r", " ").Replace(s) }
