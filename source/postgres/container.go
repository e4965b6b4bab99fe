package postgres

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"permafrost/internal/hint"
	"permafrost/source"
)

// Where the server is in a container, pg_dump of this host reaches it there if it is new enough. Else the container's own works
// within, by the engine's command. Killing that command leaves pg_dump running, with its locks: so each dump's session has a name of its own,
// by which the server finds it and ends it.

// inContainer returns the container's own tools, where this host's can't be used.
func (s *Server) inContainer(ctx context.Context) (t tools, err error) {
	c := s.db.Container
	t = tools{dump: "pg_dump", restore: "pg_restore", inside: true}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for _, program := range []string{t.restore, t.dump} {
		if t.version, t.major, err = s.askVersion(c.Command(ctx, program, "--version")); err != nil {
			return t, fmt.Errorf("%s of the container %s: %w", program, c, err)
		}
	}
	if server := s.facts.VersionNum / 10000; t.major < server {
		return t, fmt.Errorf("pg_dump of the container %s is version %s, older than the server", c, t.version)
	}
	return t, nil
}

// chooseTools finds the programs that dump the database.
func (s *Server) chooseTools(ctx context.Context) (err error) {
	c := s.db.Container
	if c == nil || c.Addr() != "" {
		s.tools, err = findTools(ctx, s.facts.VersionNum/10000, &s.opts, toolDirs)
	}
	switch {
	case c == nil || ctx.Err() != nil || err == nil && s.tools.dump != "":
		return err
	case s.opts.BinDir != "" && err == nil:
		return source.Because(CauseToolsOutside, fmt.Errorf("programs of this host do not reach the container %s", c))
	case s.opts.BinDir != "":
		return err
	}
	t, inside := s.inContainer(ctx)
	if inside != nil {
		return hint.Join(err, inside)
	}
	s.tools = t
	return nil
}

// passingScript runs a program with a PGPASSFILE, whose one line is the first of the standard input. The file is in memory where
// the container has /dev/shm, has no name, and ends with the program.
const passingScript = `umask 077
IFS= read -r line || exit 1
for dir in /dev/shm /tmp; do file=$(mktemp "$dir/XXXXXX" 2>/dev/null) && break; done
exec 3<>"$file" && rm -f "$file" && printf '%s\n' "$line" >&3 || exit 1
PGPASSFILE=/proc/self/fd/3 exec "$@"`

// dumpInside returns a command of the container's own pg_dump.
func (s *Server) dumpInside(ctx context.Context, args []string) (*exec.Cmd, error) {
	args = append(args, "--dbname="+s.conninfo())
	if s.pass == nil {
		return s.db.Container.Command(ctx, s.tools.dump, args...), nil
	}
	cmd := s.db.Container.Command(ctx, "sh", append([]string{"-c", passingScript, "sh", s.tools.dump}, args...)...)
	line, err := os.ReadFile("/proc/self/fd/" + strconv.Itoa(int(s.pass.Fd())))
	if err != nil {
		return nil, err
	}
	cmd.Stdin = strings.NewReader(string(line))
	return cmd, nil
}

// conninfo says how a program in the container connects. It holds no password: it is an argument.
func (s *Server) conninfo() string {
	params := map[string]string{
		"host": s.db.Host, "hostaddr": "127.0.0.1", "port": strconv.Itoa(s.db.Port), "dbname": s.db.Name, "user": s.db.User,
		"sslmode": s.db.SSLMode, "application_name": s.session + dumpSession,
		"client_encoding": s.facts.Encoding, "options": s.pgOptions(),
	}
	for name, value := range s.db.Params {
		// What names a file of this host is of no use there.
		if _, set := params[name]; !set && !strings.HasPrefix(name, "ssl") && name != "passfile" {
			params[name] = value
		}
	}
	var b strings.Builder
	escape := strings.NewReplacer(`\`, `\\`, `'`, `\'`)
	for name, value := range params {
		fmt.Fprintf(&b, "%s='%s' ", name, escape.Replace(value))
	}
	return b.String()
}

const (
	// endTime bounds the ending of a dump in a container, and endTries is how often it is looked for.
	endTime  = 20 * time.Second
	endTries = 20
)

// endInside ends the container's own pg_dump, which outlives the command that started it.
func (s *Server) endInside() {
	if !s.tools.inside {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), endTime)
	defer cancel()
	if err := s.endSessions(ctx, []string{s.session + dumpSession}); err != nil {
		fmt.Fprintf(s.stderr, "the dump in the container %s may still run, as the session %s: %v\n", s.db.Container, s.session+dumpSession, err)
	}
}

// endSessions ends the sessions with these names, and returns once they have ended.
func (s *Server) endSessions(ctx context.Context, names []string) error {
	conn, err := s.open(ctx)
	if err != nil {
		return err
	}
	defer closeConn(conn)
	for range endTries {
		var n int
		err := conn.QueryRow(ctx, `select count(pg_catalog.pg_terminate_backend(pid)) from pg_catalog.pg_stat_activity
			where application_name = any(pg_catalog.string_to_array($1, ',')) and pid <> pg_catalog.pg_backend_pid()`, strings.Join(names, ",")).Scan(&n)
		if err != nil || n == 0 {
			return err
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return fmt.Errorf("the server does not end the session")
}

// endOrphans ends the dumps of earlier runs on this machine that are dead.
func (s *Server) endOrphans(ctx context.Context) error {
	conn, err := s.open(ctx)
	if err != nil {
		return err
	}
	rows, err := conn.Query(ctx, `select application_name from pg_catalog.pg_stat_activity where application_name like 'permafrost-%' limit 1000`)
	var orphans []string
	if err == nil {
		for rows.Next() {
			var name string
			if err = rows.Scan(&name); err == nil && orphaned(name) {
				orphans = append(orphans, name)
			}
		}
		err = rows.Err()
	}
	closeConn(conn)
	if err != nil || len(orphans) == 0 {
		return err
	}
	ectx, cancel := context.WithTimeout(ctx, endTime)
	defer cancel()
	return s.endSessions(ectx, orphans)
}
