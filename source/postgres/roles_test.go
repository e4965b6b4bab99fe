package postgres

import (
	"reflect"
	"slices"
	"testing"
)

// The roles that a database knows are told with all that a new cluster needs of them, and no others. No secret is among that.
func TestRoles(t *testing.T) {
	db := newDatabase(t)
	sql(t, "postgres", `create role r_group nologin; create role r_top createrole nologin; grant r_top to r_group; create role r_none;
		create role r_owner login createdb connection limit 3 in role r_group valid until '2030-01-02 00:00:00Z';
		create role r_reader noinherit; create role r_database;
		alter role r_owner set statement_timeout = '7s'; alter role r_owner set app.api_token = 'sesame'; alter role r_owner in database `+db.Name+` set work_mem = '8MB'`)
	sql(t, db.Name, `create table of_owner (i int); alter table of_owner owner to r_owner; grant select on statuses to r_reader; grant create on database `+db.Name+` to r_database`)
	f := connect(t, db, Options{}).Facts()
	got := make(map[string]Role)
	for _, r := range f.Roles {
		got[r.Name] = r
	}
	want := map[string]Role{
		"r_owner": {Name: "r_owner", Inherit: true, CreateDB: true, Login: true, Connections: 3, ValidUntil: "2030-01-02 00:00:00+00", MemberOf: []string{"r_group"},
			Settings: []string{"statement_timeout=7s", "app.api_token=(not stored)"}},
		"r_group":    {Name: "r_group", Inherit: true, Connections: -1, MemberOf: []string{"r_top"}, Settings: []string{}},
		"r_top":      {Name: "r_top", Inherit: true, CreateRole: true, Connections: -1, MemberOf: []string{}, Settings: []string{}},
		"r_reader":   {Name: "r_reader", Connections: -1, MemberOf: []string{}, Settings: []string{}},
		"r_database": {Name: "r_database", Inherit: true, Connections: -1, MemberOf: []string{}, Settings: []string{}},
	}
	for name, role := range want {
		if x := got[name]; !reflect.DeepEqual(x, role) {
			t.Errorf("%s:\n got %+v\nwant %+v", name, x, role)
		}
	}
	if _, there := got["r_none"]; there || got[db.User].Name == "" || slices.ContainsFunc(f.Roles, func(r Role) bool { return r.Name == "pg_monitor" }) {
		t.Errorf("roles %+v", f.Roles)
	}
	if f.Host != cluster.Host || f.Port != cluster.Port || f.Login != "scram-sha-256" {
		t.Errorf("reached at %s, %d, login %q", f.Host, f.Port, f.Login)
	}
}
