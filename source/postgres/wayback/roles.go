package wayback

import (
	"fmt"
	"slices"
	"strings"

	"permafrost/source/postgres"
	"permafrost/source/postgres/quote"
)

// sqlHead begins each file for psql: what follows means what it says, whatever is set on the server.
const sqlHead = "set standard_conforming_strings = on;\nset client_encoding = 'UTF8';\n"

// harmlessGroups are the roles of PostgreSQL's own that a role may be made a member of. The others let it run programs and
// read files of the server.
var harmlessGroups = []string{"pg_monitor", "pg_read_all_data", "pg_read_all_settings", "pg_read_all_stats", "pg_stat_scan_tables", "pg_write_all_data"}

// listSettings are those whose values are lists of names, as GUC_LIST_QUOTE marks them in PostgreSQL. They are set by one
// literal for each name.
var listSettings = []string{"local_preload_libraries", "search_path", "session_preload_libraries", "shared_preload_libraries", "temp_tablespaces", "unix_socket_directories"}

// rolesSQL returns a script for psql that makes the roles that are missing, with their memberships and their settings, in one
// transaction. Roles that are there are left alone. Those that are made can't log in, but for the instance's own, and have no
// password; no superuser is made.
func rolesSQL(roles []postgres.Role, own string) string {
	var b strings.Builder
	b.WriteString(sqlHead + "\\set ON_ERROR_STOP off\n\\set ON_ERROR_ROLLBACK on\nbegin;\n")
	for i := range roles {
		r := &roles[i]
		fmt.Fprintf(&b, "select not exists (select from pg_catalog.pg_roles where rolname = %s) as absent_%d \\gset\n\\if :absent_%d\n", quote.Literal(r.Name), i, i)
		b.WriteString("create role " + quote.Identifier(r.Name) + attributes(r, r.Name == own) + ";\n")
		tell(&b, "made the role "+quote.Name(r.Name)+lost(r, r.Name == own))
		b.WriteString("\\endif\n")
	}
	for i := range roles {
		fmt.Fprintf(&b, "\\if :absent_%d\n", i)
		memberships(&b, &roles[i])
		settings(&b, &roles[i])
		b.WriteString("\\endif\n")
	}
	b.WriteString("commit;\n")
	return b.String()
}

// missingRolesSQL returns a query for the names of those roles that are not there.
func missingRolesSQL(roles []postgres.Role) string {
	names := make([]string, len(roles))
	for i := range roles {
		names[i] = roles[i].Name
	}
	return missingSQL(names, "rolname from pg_catalog.pg_roles")
}

// missingSQL returns a query for those of the names that the list, a column and its table, does not have.
func missingSQL(names []string, list string) string {
	if len(names) == 0 {
		return sqlHead
	}
	rows := make([]string, len(names))
	for i, name := range names {
		rows[i] = "(" + quote.Literal(name) + ")"
	}
	return sqlHead + "select name from (values " + strings.Join(rows, ", ") + ") as wanted(name)\nwhere name not in (select " + list + ") order by name;\n"
}

// wantedRoles returns the roles that must be there: those of the facts, those that own something in the dump, and the instance's
// own. Nothing else is known of some.
func wantedRoles(roles []postgres.Role, owners []string, own string) []postgres.Role {
	all := slices.Clone(roles)
	for _, name := range append(slices.Clone(owners), own) {
		if !slices.ContainsFunc(all, func(r postgres.Role) bool { return r.Name == name }) {
			all = append(all, postgres.Role{Name: name, Inherit: true, Connections: -1})
		}
	}
	return slices.DeleteFunc(all, func(r postgres.Role) bool {
		return r.Name == "" || r.Name == "public" || strings.HasPrefix(r.Name, "pg_")
	})
}

// tell writes a statement that shows a text.
func tell(b *strings.Builder, text string) { b.WriteString("select " + quote.Literal(text) + ";\n") }

// attributes returns what a role is made with.
func attributes(r *postgres.Role, own bool) string {
	s := " nologin"
	if own {
		s = " login"
	}
	if !r.Inherit {
		s += " noinherit"
	}
	if r.CreateDB {
		s += " createdb"
	}
	if r.BypassRLS {
		s += " bypassrls"
	}
	if r.Connections >= 0 {
		s += fmt.Sprintf(" connection limit %d", r.Connections)
	}
	return s
}

// lost says what a role had and is made without.
func lost(r *postgres.Role, own bool) string {
	var had []string
	for _, a := range []struct {
		name string
		had  bool
	}{{"superuser", r.Superuser}, {"createrole", r.CreateRole}, {"replication", r.Replication}, {"login", r.Login && !own}} {
		if a.had {
			had = append(had, a.name)
		}
	}
	if len(had) == 0 {
		return ""
	}
	return ", without " + strings.Join(had, ", ") + ", which it had"
}

// memberships makes a role a member of its groups, but of those that would give it more than a restore should.
func memberships(b *strings.Builder, r *postgres.Role) {
	for _, group := range r.MemberOf {
		said := "the role " + quote.Name(r.Name) + " is not made a member of " + quote.Name(group)
		if strings.HasPrefix(group, "pg_") && !slices.Contains(harmlessGroups, group) {
			tell(b, said+": look whether it is to be one")
			continue
		}
		fmt.Fprintf(b, "select exists (select from pg_catalog.pg_roles where rolname = %s and not rolsuper) as may \\gset\n\\if :may\n", quote.Literal(group))
		fmt.Fprintf(b, "grant %s to %s;\n\\else\n", quote.Identifier(group), quote.Identifier(r.Name))
		tell(b, said+", which is a superuser or not there")
		b.WriteString("\\endif\n")
	}
}

// settings gives a role its settings in the whole cluster.
func settings(b *strings.Builder, r *postgres.Role) {
	for _, s := range r.Settings {
		name, value, ok := strings.Cut(s, "=")
		if !ok || value == postgres.HiddenSetting {
			tell(b, "the setting "+name+" of the role "+quote.Name(r.Name)+" is not in the snapshot")
			continue
		}
		values := []string{value}
		if slices.Contains(listSettings, strings.ToLower(name)) {
			values = splitList(value)
		}
		for i, v := range values {
			values[i] = quote.Literal(v)
		}
		parts := strings.Split(name, ".")
		for i, p := range parts {
			parts[i] = quote.Identifier(p)
		}
		fmt.Fprintf(b, "alter role %s set %s to %s;\n", quote.Identifier(r.Name), strings.Join(parts, "."), strings.Join(values, ", "))
	}
}

// roleSettingsSQL returns a query for those settings of a role in the whole cluster that it does not have: a role that was there is
// left alone.
func roleSettingsSQL(roles []postgres.Role, own string) string {
	var rows []string
	for i := range roles {
		for _, s := range roles[i].Settings {
			if roles[i].Name == own && !strings.HasSuffix(s, "="+postgres.HiddenSetting) {
				rows = append(rows, "("+quote.Literal(s)+")")
			}
		}
	}
	if len(rows) == 0 {
		return sqlHead
	}
	told := quote.Literal("the role " + quote.Name(own) + " does not have the setting that it had: ")
	return sqlHead + "select " + told + " || setting from (values " + strings.Join(rows, ", ") + ") as had(setting)\n" +
		"where setting not in (select pg_catalog.unnest(rolconfig) from pg_catalog.pg_roles where rolname = " + quote.Literal(own) + ") order by 1;\n"
}

// splitList takes apart a list of names, of which some may be identifiers in quotes.
func splitList(list string) (names []string) {
	for rest := list; ; {
		rest = strings.TrimLeft(rest, " \t\n")
		name := ""
		if strings.HasPrefix(rest, `"`) {
			if quoted, after, ok := quote.Cut(rest); ok {
				name, rest = quoted, after
			}
		}
		end, after, more := strings.Cut(rest, ",")
		names = append(names, name+strings.TrimSpace(end))
		if rest = after; !more {
			return names
		}
	}
}
