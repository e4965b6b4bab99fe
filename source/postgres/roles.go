package postgres

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// A Role is one that owns something in the database, is granted something, or is a group of such a one. Roles are the cluster's,
// and no dump of a database has them.
type Role struct {
	Name        string   `json:"name"`
	Superuser   bool     `json:"superuser,omitempty"`
	Inherit     bool     `json:"inherit"`
	CreateRole  bool     `json:"create_role,omitempty"`
	CreateDB    bool     `json:"create_db,omitempty"`
	Login       bool     `json:"login,omitempty"`
	Replication bool     `json:"replication,omitempty"`
	BypassRLS   bool     `json:"bypass_rls,omitempty"`
	Connections int      `json:"connections"`           // that it may have at once, -1 for any number
	ValidUntil  string   `json:"valid_until,omitempty"` // of its password
	MemberOf    []string `json:"member_of,omitempty"`
	Settings    []string `json:"settings,omitempty"` // of ALTER ROLE ... SET in the whole cluster: name=value
}

const (
	maxRoles  = 1000 // that are asked for, as rolesQuery says
	maxOfRole = 100  // groups, and settings, of a role
)

// HiddenSetting stands for the value of a role's setting that may be a secret, or is too long.
const HiddenSetting = "(not stored)"

// What depends on roles is listed in pg_shdepend: objects of a database by its number, databases themselves by 0.
const rolesQuery = `
with recursive db as (select oid, datdba from pg_database where datname = current_database()),
role(id) as (
	select d.refobjid from pg_shdepend d, db where d.refclassid = 'pg_authid'::regclass
		and (d.dbid = db.oid or d.dbid = 0 and d.classid = 'pg_database'::regclass and d.objid = db.oid)
	union select datdba from db
	union select oid from pg_roles where rolname = current_user
	union select m.roleid from pg_auth_members m join role on m.member = role.id
)
select rolname, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication, rolbypassrls, rolconnlimit,
	coalesce(rolvaliduntil::text, ''),
	array(select g.rolname::text from pg_auth_members m join pg_roles g on g.oid = m.roleid where m.member = r.oid order by 1 limit 100),
	coalesce(rolconfig[1:100], '{}')
from role join pg_roles r on r.oid = role.id order by rolname limit 1000`

// readRoles reads the roles that the database knows. A server that does not tell them has none.
func readRoles(ctx context.Context, conn *pgx.Conn) (roles []Role, err error) {
	rows, err := conn.Query(ctx, rolesQuery)
	if err == nil {
		var r Role
		_, err = pgx.ForEachRow(rows, []any{&r.Name, &r.Superuser, &r.Inherit, &r.CreateRole, &r.CreateDB, &r.Login, &r.Replication,
			&r.BypassRLS, &r.Connections, &r.ValidUntil, &r.MemberOf, &r.Settings}, func() error {
			if len(roles) == maxRoles || len(r.MemberOf) > maxOfRole || len(r.Settings) > maxOfRole {
				return fmt.Errorf("the server answers with more than %d roles, or %d groups or settings of one", maxRoles, maxOfRole)
			}
			r.MemberOf, r.Settings = slices.Clone(r.MemberOf), withoutSecrets(r.Settings)
			roles = append(roles, r)
			return checkTexts(append(append([]string{r.Name, r.ValidUntil}, r.MemberOf...), r.Settings...)...)
		})
	}
	if denied := (*pgconn.PgError)(nil); errors.As(err, &denied) && denied.Code == "42501" {
		return nil, nil
	}
	return roles, err
}

// secretSetting matches names of settings that may well hold a secret: anybody may make up settings of a role.
var secretSetting = regexp.MustCompile(`(?i)pass|secret|token|key|credential`)

func withoutSecrets(settings []string) []string {
	kept := make([]string, 0, len(settings))
	for _, s := range settings {
		if name, _, _ := strings.Cut(s, "="); secretSetting.MatchString(name) || len(s) > maxText {
			s = name + "=" + HiddenSetting
		}
		kept = append(kept, s)
	}
	return kept
}

// A login is how a server let us in: what it asked for.
type login struct {
	mu     sync.Mutex
	method string // scram-sha-256, md5, password or gss; "" where it asked for nothing, as by peer authentication
}

func (l *login) set(method string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.method = method
}

func (l *login) get() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.method
}

// hear returns r, the first message of which says what the server asks for: a byte R, a length, and the kind of authentication.
func (l *login) hear(r io.Reader) io.Reader { return &loginReader{Reader: r, login: l} }

type loginReader struct {
	io.Reader
	login *login
	head  []byte
}

var loginMethods = map[uint32]string{3: "password", 5: "md5", 7: "gss", 9: "gss", 10: "scram-sha-256"}

func (r *loginReader) Read(p []byte) (int, error) {
	const size = 1 + 4 + 4
	n, err := r.Reader.Read(p)
	if len(r.head) < size {
		r.head = append(r.head, p[:min(n, size-len(r.head))]...)
		if len(r.head) == size && r.head[0] == 'R' {
			r.login.set(loginMethods[binary.BigEndian.Uint32(r.head[5:])])
		}
	}
	return n, err
}
