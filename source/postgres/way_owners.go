package postgres

import (
	"fmt"
	"strings"
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

// othersList returns the objects of the dump that belong to somebody else than a role: a line for each, with its ID, its name as
// pg_restore lists it, and its owner. What belongs to a role of PostgreSQL's own does so again.
func (c *contents) othersList(own string) string {
	var b strings.Builder
	for i := range c.owned {
		e := &c.owned[i]
		if e.owner == "" || e.owner == own || strings.HasPrefix(e.owner, "pg_") {
			continue
		}
		schema := e.schema
		if schema == "" {
			schema = "-"
		}
		fmt.Fprintf(&b, "%d; %s %s %s, of %s\n", e.id, e.kind, oneLine(schema), oneLine(e.tag), oneLine(e.owner))
	}
	return b.String()
}

// grantsList returns the statements that grant something to others than a role, or take it from them: a line for each. The role
// owns all that is restored, and needs no grant.
func (c *contents) grantsList(own string) string {
	var b strings.Builder
	for i := range c.grants {
		e := &c.grants[i]
		for _, statement := range splitGrants(e.definition) {
			words := strings.TrimSuffix(statement, " WITH GRANT OPTION")
			if strings.Contains(words, " SESSION AUTHORIZATION ") || isAbout(words, own) || isAbout(words, e.owner) && strings.HasPrefix(words, "REVOKE ") {
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
	return strings.HasSuffix(grant, " "+role) || strings.HasSuffix(grant, " "+identifier(role))
}

func oneLine(s string) string { return strings.NewReplacer("\n", " ", "\r", " ").Replace(s) }
