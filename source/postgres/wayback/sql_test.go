package wayback

import (
	"slices"
	"strings"
	"testing"

	"permafrost/source/postgres"
	"permafrost/source/postgres/archive"
)

// A statement about the database is taken over with nothing in it that psql would take for a command or a variable.
func TestSettingsSQL(t *testing.T) {
	c := &archive.Contents{Archive: archive.Archive{Database: `my "db"`}}
	for kind, definition := range map[string]string{
		"DATABASE PROPERTIES": `ALTER DATABASE "my ""db""" SET search_path TO 'public', ':x \! id';` + "\n" + `ALTER ROLE "a;b" IN DATABASE "my ""db""" SET "a.b" TO E'x\\y''\'z';` + "\n",
		"COMMENT":             `COMMENT ON DATABASE "my ""db""" IS 'a` + "\n\\\\! id'';';\n",
		"ACL":                 `GRANT ALL ON DATABASE "my ""db""" TO x; \! id` + "\n" + `GRANT ALL ON DATABASE "my ""db""" TO y;`,
		"SECURITY LABEL":      `SECURITY LABEL ON DATABASE other IS 'x';`,
		"DATABASE":            `CREATE DATABASE "my ""db""";`,
	} {
		c.Kept = append(c.Kept, archive.Entry{Kind: kind, Definition: definition})
	}
	sql, leftOut := settingsSQL(c)
	for _, want := range []string{
		`ALTER DATABASE :"new" SET search_path TO 'public' , ':x \! id';`,
		`ALTER ROLE "a;b" IN DATABASE :"new" SET "a.b" TO E'x\\y''\'z';`,
		`COMMENT ON DATABASE :"new" IS 'a` + "\n\\\\! id'';';",
		`GRANT ALL ON DATABASE :"new" TO x;`,
	} {
		if !strings.Contains(sql, want+"\n") {
			t.Errorf("no %s", want)
		}
	}
	if leftOut != 2 || strings.Contains(sql, "TO y") || strings.Contains(sql, "other") || strings.Contains(sql, "CREATE") {
		t.Errorf("%d left out of\n%s", leftOut, sql)
	}
	for _, bad := range []string{`ALTER \! id`, `SET x TO 'open`, `SET "open`, "SET x TO $$a$$", ":x", "--", "/*", `""`, "a"} {
		if statements, whole := splitStatements(bad); whole || len(statements) > 0 {
			t.Errorf("%q: %q", bad, statements)
		}
	}
}

// The settings of a role are set again as they were: a list of names by names.
func TestSplitList(t *testing.T) {
	for list, want := range map[string][]string{
		"":                             {""},
		"public":                       {"public"},
		`"$user", public,"a ""b, c",d`: {"$user", "public", `a "b, c`, "d"},
		`"open`:                        {`"open`},
	} {
		if got := splitList(list); !slices.Equal(got, want) {
			t.Errorf("%s: %q", list, got)
		}
	}
}

// Roles that are made have no more rights than a restore needs, and those that are there stay as they are.
func TestRolesSQL(t *testing.T) {
	t.Parallel()
	h := host(t)
	before := `create role "there rx" nologin; create role "boss rx" superuser nologin`
	if err := h.Exec(t.Context(), "template1", before); err != nil {
		t.Fatal(err)
	}
	roles := wantedRoles([]postgres.Role{
		{Name: "group rx", Connections: -1, Inherit: true},
		{Name: "made rx", Connections: 5, Login: true, Superuser: true, CreateRole: true, BypassRLS: true,
			MemberOf: []string{"group rx", "boss rx", "pg_monitor", "pg_execute_server_program", "nowhere rx"},
			Settings: []string{`search_path="a ""b", $user`, "work_mem=9MB", "my.own=it's \\! id", "nonsense=1", "my.token=" + postgres.HiddenSetting}},
		{Name: "there rx", Connections: -1, Login: true, MemberOf: []string{"group rx"}, Settings: []string{"work_mem=9MB"}},
		{Name: "pg_monitor"},
	}, []string{"owner rx", "public"}, "own rx")
	out, err := h.Query(t.Context(), "template1", rolesSQL(roles, "own rx"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`made the role "made rx", without superuser, createrole, login, which it had`, `not made a member of "boss rx", which is a superuser`,
		`not made a member of pg_execute_server_program: look`, `"nowhere rx", which is a superuser or not there`, `the setting my.token of the role "made rx" is not in the snapshot`} {
		if !strings.Contains(out, want) {
			t.Errorf("it does not say %s, but\n%s", want, out)
		}
	}
	got, err := h.Query(t.Context(), "template1", `select rolname, rolcanlogin, rolsuper, rolcreaterole, rolbypassrls, rolinherit, rolconnlimit, rolconfig,
		array(select g.rolname from pg_auth_members m join pg_roles g on g.oid = roleid where member = r.oid order by 1) from pg_roles r where rolname like '% rx' order by 1`)
	want := `boss rx|f|t|f|f|t|-1||{}
group rx|f|f|f|f|t|-1||{}
made rx|f|f|f|t|f|5|{"search_path=\"a \"\"b\", \"$user\"",work_mem=9MB,"my.own=it's \\! id"}|{"group rx",pg_monitor}
own rx|t|f|f|f|t|-1||{}
owner rx|f|f|f|f|t|-1||{}
there rx|f|f|f|f|t|-1||{}
`
	if err != nil || got != want {
		t.Errorf("roles\n%swant\n%s%v", got, want, err)
	}
	if missing, err := h.Query(t.Context(), "template1", missingRolesSQL(append(roles, postgres.Role{Name: "no 'x"}))); err != nil || missing != "no 'x\n" {
		t.Errorf("missing %q, %v", missing, err)
	}
}
