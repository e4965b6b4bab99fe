// Package wayback makes the steps by which a database comes back from its dump: scripts of bash and psql, and the files that they
// read. Package postgres takes the dump; nothing here reaches a server or runs a program.
//
// The database that is there stays as it is until the restored one is whole, and gets another name then. Roles that are there are left
// alone, and those that are made have no more rights than a restore needs. What a dump or its facts say becomes SQL in quotes or token
// by token, so that psql takes nothing in it for a command of its own.
package wayback

import (
	"embed"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"permafrost/source"
	"permafrost/source/postgres"
	"permafrost/source/postgres/archive"
	"permafrost/source/way"
)

//go:embed steps
var stepFiles embed.FS

// Saved is what a snapshot has of a database, and what is known of the place that it comes back to.
type Saved struct {
	ID   string    // of this restore: letters and digits, which names of databases end in
	Time time.Time // of this restore: a date in the name that an old database gets

	Database string // its name
	User     string // the role that Mastodon logs in as
	Facts    postgres.Facts
	Dump     postgres.DumpFacts
	DumpFile string // name of the dump in the directory with the restored files
	TOC      []byte // as archive.TOC returns it

	OSUser     string // Mastodon's user on the new host
	EnvFile    string // the restored settings file: absolute
	Deployment source.Deployment
}

// Of returns how the database comes back. The restored one is made beside the one that is there, and takes its name when it
// is whole.
//
// Where the database's server is a service of a Compose project, its programs run in its container, by a function of the
// host's file that is not made here: in_container SERVICE PROGRAM ARGUMENT…, which passes standard input and output.
//
// What later parts need to know stands in files of the directory plan: pg-absent lists the objects that could not be made, and
// pg-unsound those without which Mastodon must not run, such as unique indexes. Both are there, maybe empty, from the step that
// makes indexes on.
func Of(s Saved) (way.Part, error) {
	c, err := archive.ReadContents(s.TOC)
	if err != nil {
		return way.Part{}, fmt.Errorf("the dump's table of contents: %w", err)
	}
	var code []byte
	for _, name := range []string{"steps/server.sh", "steps/functions.sh", "steps/lacks.sh"} {
		text, err := stepFiles.ReadFile(name)
		if err != nil {
			return way.Part{}, err
		}
		code = append(append(code, text...), '\n')
	}
	return way.Part{
		Name:  "PostgreSQL",
		Vars:  s.vars(c),
		Code:  string(code),
		Files: s.files(c),
		Steps: way.Read(stepFiles, "steps"),
	}, nil
}

// vars returns the variables, those that an administrator may have to change in front.
func (s *Saved) vars(c *archive.Contents) []way.Var {
	f := &s.Facts
	admin, adminUser, adminHost := "postgres", "postgres", f.Host
	service := s.service()
	switch {
	case service != "":
		adminUser, adminHost = "", ""
		if s.superuser() {
			admin = s.User
		}
	case isLocal(f.Host):
		adminHost = localSocket
	case !strings.HasPrefix(f.Host, "/"):
		adminUser = "" // a server on another host lets nobody in for who he is here
	}
	one := func(name, value, about string) way.Var {
		return way.Var{Name: name, About: about, Values: []string{value}}
	}
	port := ""
	if f.Port != 0 {
		port = strconv.Itoa(f.Port)
	}
	return []way.Var{
		one("pg_host", f.Host, "where Mastodon reaches the server: a host, or the directory of a socket"),
		one("pg_port", port, "the server's port, which names its socket too"),
		one("pg_admin", admin, "a superuser of the server; empty where there is none: then all is done as Mastodon's role"),
		one("pg_admin_user", adminUser, "the user of this host that is let in as the superuser; empty for who runs the steps, with ~/.pgpass"),
		one("pg_admin_host", adminHost, "where the superuser reaches the server: the directory of its socket, or a host"),
		one("pg_service", service, "the service of the Compose project that the server is; empty without one"),
		one("pg_database", s.Database, "the database"),
		one("pg_role", s.User, "the role that Mastodon logs in as"),
		one("pg_role_user", s.OSUser, "the user of this host that Mastodon runs as"),
		one("pg_asks", f.Login, "how the server asks Mastodon's role for its password; empty where it does not"),
		one("pg_settings", s.EnvFile, "the restored settings file, which has the password"),
		one("pg_encoding", f.Encoding, "of the restored database: its encoding"),
		one("pg_provider", f.Provider, "of the restored database: what sorts its texts, which is libc, icu or builtin"),
		one("pg_collate", f.Collate, "of the restored database: the locale that sorts texts"),
		one("pg_ctype", f.CType, "of the restored database: the locale that tells letters apart"),
		one("pg_locale", f.Locale, "of the restored database: the locale of icu and builtin"),
		{Name: "pg_without", About: "extensions that this server need not have: the tables that need them are not restored", Array: true},
		one("pg_jobs", "", "how many tables are filled and indexes made at once; empty for one a processor, and no more than 8"),
		one("pg_dump_file", s.DumpFile, "the dump's name in the directory with the restored files"),
		one("pg_new", cut(s.Database, "_restoring_"+s.ID), "what the restored database is called until it is whole"),
		one("pg_rehearsal", cut(s.Database, "_rehearsal_"+s.ID), "an empty database, to try things in"),
		one("pg_old", cut(s.Database, "_before_"+s.Time.UTC().Format("20060102_150405")), "what a database that is there is called afterwards"),
		one("pg_tag", "permafrost-"+s.ID, "what the connections of the steps call themselves"),
		one("pg_dump_version", major(c.Server), "the version of PostgreSQL that the dump is of"),
	}
}

// localSocket is the directory that Debian's and Red Hat's servers have their sockets in.
const localSocket = "/var/run/postgresql"

func isLocal(host string) bool {
	return host == "" || host == "localhost" || host == "::1" || strings.HasPrefix(host, "127.")
}

// service returns the service of the Compose project that the server is; "" where it is none.
func (s *Saved) service() string {
	if s.Deployment.Kind != source.Compose {
		return ""
	}
	for _, v := range s.Deployment.Services {
		if v.Name == s.Facts.Host {
			return v.Name
		}
	}
	return ""
}

// superuser reports whether Mastodon's role was one.
func (s *Saved) superuser() bool {
	for i := range s.Facts.Roles {
		if r := &s.Facts.Roles[i]; r.Name == s.User {
			return r.Superuser
		}
	}
	return false
}

// maxName is how many bytes PostgreSQL takes of a name.
const maxName = 63

// cut returns a name with an ending, cut between two characters so that PostgreSQL takes it whole.
func cut(name, ending string) string {
	n := min(len(name), maxName-len(ending))
	for n > 0 && n < len(name) && !utf8.RuneStart(name[n]) {
		n--
	}
	return name[:n] + ending
}

var number = regexp.MustCompile(`^\d+`)

// major returns the first number of a version, 0 where it has none.
func major(version string) string {
	if n := number.FindString(version); n != "" {
		return n
	}
	return "0"
}

// files returns what the steps read.
func (s *Saved) files(c *archive.Contents) []way.File {
	roles := wantedRoles(s.Facts.Roles, c.Owners, s.User)
	settings, leftOut := settingsSQL(c)
	if leftOut > 0 {
		settings += fmt.Sprintf("select '%d statements about the database itself are not taken over: pg_restore --create shows them';\n", leftOut)
	}
	var extensions []string
	for i := range c.Kept {
		if c.Kept[i].Kind == "EXTENSION" {
			extensions = append(extensions, c.Kept[i].Tag)
		}
	}
	offsets, ok := archive.WithOffsets(s.TOC, s.Dump.Tables)
	if !ok {
		offsets = s.TOC
	}
	return []way.File{
		{Name: "pg-toc.dump", Data: s.TOC},
		{Name: "pg-toc-offsets.dump", Data: offsets},
		{Name: "pg-toc-path.dump", Data: pathTOC(s.TOC, c)},
		{Name: "pg-roles.sql", Data: []byte(rolesSQL(roles, s.User))},
		{Name: "pg-roles-missing.sql", Data: []byte(missingRolesSQL(roles))},
		{Name: "pg-role-settings.sql", Data: []byte(roleSettingsSQL(roles, s.User))},
		{Name: "pg-extensions-missing.sql", Data: []byte(missingSQL(extensions, "name from pg_catalog.pg_available_extensions"))},
		{Name: "pg-settings.sql", Data: []byte(settings)},
		{Name: "pg-rows.sql", Data: []byte(rowsSQL(&s.Dump))},
		{Name: "pg-path.sql", Data: []byte(pathSQL(c))},
		{Name: "pg-owners", Data: []byte(ownersList(append(c.Owners, s.User)))},
		{Name: "pg-others", Data: []byte(othersList(c.Owned, s.User))},
		{Name: "pg-grants", Data: []byte(grantsList(c.Grants, s.User))},
	}
}
