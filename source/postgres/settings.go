package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"
	"golang.org/x/sys/unix"

	"permafrost/internal/hostfs"
	"permafrost/source"
)

const (
	// defaultTimeout bounds the connecting where the settings don't, and longestTimeout where they do, in seconds.
	defaultTimeout, longestTimeout = 15, 60

	// maxSettingsFile bounds a certificate, a key or a password file, in bytes.
	maxSettingsFile = 1 << 20

	// maxHeard bounds all that a server may say on one connection of ours, in bytes. A row of facts has some 60.
	maxHeard = 8 << 20
)

// plainSettings are what pgx is told where .env.production says nothing: all that it would otherwise look for in the
// environment and in the home directory of root.
func plainSettings() map[string]string {
	return map[string]string{
		"password": "", "passfile": "", "service": "none", "servicefile": "",
		"sslcert": "", "sslkey": "", "sslrootcert": "", "sslpassword": "", "sslcertmode": "allow", "sslsni": "", "sslnegotiation": "",
		"channel_binding": "", "require_auth": "", "min_protocol_version": "", "max_protocol_version": "",
		"target_session_attrs": "any", "options": "", "timezone": "", "connect_timeout": strconv.Itoa(defaultTimeout),
	}
}

// connConfig translates the settings for pgx.
func (s *Server) connConfig() (*pgx.ConnConfig, error) {
	settings := plainSettings()
	settings["host"], settings["port"], settings["database"] = s.db.Host, strconv.Itoa(s.db.Port), s.db.Name
	settings["user"], settings["sslmode"] = s.db.User, s.db.SSLMode
	// pgx would send names that it does not know to the server, as settings of the session.
	for _, name := range []string{"sslcert", "sslkey", "sslrootcert", "sslcertmode", "sslsni", "sslnegotiation",
		"channel_binding", "require_auth", "krbsrvname", "target_session_attrs", "options", "passfile"} {
		if v, ok := s.db.Params[name]; ok {
			settings[name] = v
		}
	}
	if n, err := strconv.Atoi(s.db.Params["connect_timeout"]); err == nil && n > 0 {
		settings["connect_timeout"] = strconv.Itoa(min(n, longestTimeout))
	}
	files := &settingsFiles{user: s.opts.User}
	defer files.close()
	if err := files.take(settings, s.db.Socket()); err != nil {
		return nil, fmt.Errorf("settings of the %v: %w", s.db, err)
	}
	var b strings.Builder
	escape := strings.NewReplacer(`\`, `\\`, `'`, `\'`)
	for name, value := range settings {
		fmt.Fprintf(&b, "%s='%s' ", name, escape.Replace(value))
	}
	config, err := pgx.ParseConfig(b.String())
	if err != nil {
		return nil, fmt.Errorf("settings of the %v: %w", s.db, files.rename(err))
	}
	for _, name := range []string{"options", "timezone"} {
		if settings[name] == "" {
			delete(config.RuntimeParams, name)
		}
	}
	maps.Copy(config.RuntimeParams, sessionParams())
	config.RuntimeParams["application_name"] = s.session
	if s.db.Password != "" {
		config.Password = s.db.Password
	}
	// PgBouncer can't prepare statements; it is to be noticed, not to fail with something obscure.
	config.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol
	config.BuildFrontend = func(r io.Reader, w io.Writer) *pgproto3.Frontend {
		f := pgproto3.NewFrontend(s.login.hear(r), w)
		f.SetMaxBodyLen(maxHeard)
		return f
	}
	if addr := s.db.Params["hostaddr"]; addr != "" {
		config.LookupFunc = func(context.Context, string) ([]string, error) { return []string{addr}, nil }
	}
	dial := s.opts.User.Dial
	if c := s.db.Container; c != nil {
		config.LookupFunc = func(context.Context, string) ([]string, error) { return []string{"container"}, nil }
		dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return c.Dial(ctx, s.opts.User, strconv.Itoa(s.db.Port))
		}
	}
	config.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &boundedConn{Conn: conn, left: maxHeard}, nil
	}
	return config, nil
}

// A boundedConn is a connection to a server that may not say more than so many bytes: some of what it says is kept.
type boundedConn struct {
	net.Conn
	left int
}

var errTalkative = errors.New("the server says more than a PostgreSQL has to say")

func (c *boundedConn) Read(p []byte) (int, error) {
	if c.left == 0 && len(p) > 0 {
		return 0, errTalkative
	}
	n, err := c.Conn.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}

// settingsFiles are copies in memory of files that settings or a home directory name, read with a user's rights.
type settingsFiles struct {
	user   *hostfs.User
	copies []*os.File
	names  []string // of copies: their names, and those of the files
}

// take replaces the files in the settings of a connection by copies, and adds those that libpq would find in the user's home.
func (n *settingsFiles) take(settings map[string]string, socket bool) (err error) {
	if settings["servicefile"], err = n.add("no service", []byte("[none]\n")); err != nil {
		return err
	}
	home := homeOf(n.user)
	switch path := settings["passfile"]; {
	case path != "":
		if settings["passfile"], err = n.read(path); err != nil {
			return fmt.Errorf("passfile: %w", err)
		}
	case home != "":
		path := filepath.Join(home, ".pgpass")
		// As with libpq, the password is then not there.
		if settings["passfile"], err = n.read(path); errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
			err = nil
		}
		if err != nil {
			return err
		}
	}
	if socket || settings["sslmode"] == "disable" {
		settings["sslcert"], settings["sslkey"], settings["sslrootcert"] = "", "", ""
		return nil // TLS is not spoken
	}
	groups := [][]string{{"sslrootcert"}, {"sslcert", "sslkey"}}
	if settings["sslcertmode"] == "disable" {
		groups = groups[:1]
	}
	for _, group := range groups {
		if err := n.takeGroup(settings, home, group); err != nil {
			return err
		}
	}
	return nil
}

// defaultFiles are those of TLS in ~/.postgresql.
var defaultFiles = map[string]string{"sslrootcert": "root.crt", "sslcert": "postgresql.crt", "sslkey": "postgresql.key"}

// takeGroup is take for files that are of use only together: if the settings name none of them, those at home count if all are there.
func (n *settingsFiles) takeGroup(settings map[string]string, home string, group []string) error {
	given := slices.ContainsFunc(group, func(name string) bool { return settings[name] != "" })
	if !given && home == "" {
		return nil
	}
	for _, name := range group {
		path := settings[name]
		if !given {
			path = filepath.Join(home, ".postgresql", defaultFiles[name])
		}
		if path == "" || name == "sslrootcert" && path == "system" {
			continue
		}
		cp, err := n.read(path)
		if !given && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission)) {
			for _, name := range group {
				settings[name] = ""
			}
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		settings[name] = cp
	}
	return nil
}

// read copies a file and returns the copy's path. One that is empty has no copy.
func (n *settingsFiles) read(path string) (string, error) {
	if !filepath.IsAbs(path) {
		path = "/" + path // where pg_dump is going to look for it
	}
	data, _, err := n.user.ReadFile(path, maxSettingsFile)
	if errors.Is(err, fs.ErrPermission) && n.user != nil {
		return "", source.Because(CauseFileDenied, fmt.Errorf("as %v: %w", n.user, err))
	}
	if err != nil {
		return "", err
	}
	return n.add(path, data)
}

func (n *settingsFiles) add(name string, data []byte) (string, error) {
	f, err := memoryFile("copy", data)
	if err != nil {
		return "", err
	}
	cp := hostfs.ProcPath(int(f.Fd()))
	n.copies, n.names = append(n.copies, f), append(n.names, cp, name)
	return cp, nil
}

// rename returns an error whose text has the names of the files in place of those of their copies.
func (n *settingsFiles) rename(err error) error {
	text := strings.NewReplacer(n.names...).Replace(err.Error())
	if text == err.Error() {
		return err
	}
	return errors.New(text)
}

func (n *settingsFiles) close() {
	for _, f := range n.copies {
		f.Close()
	}
}

// homeOf returns a user's home directory, "" where he has none. Root's is the one that the user database has: $HOME may be
// another user's.
func homeOf(u *hostfs.User) string {
	if u == nil && os.Geteuid() == 0 {
		u, _ = hostfs.LookupUID(0, 0)
	}
	if u != nil {
		return u.Home
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	return home
}

// memoryFile returns a file in memory without a name, which only this process's user may read, and which ends with the last process
// that holds it open.
func memoryFile(name string, data []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("making a file in memory: %w", err)
	}
	f := os.NewFile(uintptr(fd), name)
	if err = f.Chmod(0o600); err == nil {
		_, err = f.Write(data)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("making a file in memory: %w", err)
	}
	return f, nil
}

// passFile returns a PGPASSFILE with the password: a file in memory that only the user (or else this process's user) may read.
// It is nil for an empty password.
func passFile(password string, u *hostfs.User) (*os.File, error) {
	if password == "" {
		return nil, nil
	}
	if strings.ContainsAny(password, "\r\n\x00") {
		return nil, errors.New("the database's password holds a line break or a NUL, which no PGPASSFILE can")
	}
	f, err := memoryFile("pgpass", []byte("*:*:*:*:"+strings.NewReplacer(`\`, `\\`, ":", `\:`).Replace(password)+"\n"))
	if err != nil || u == nil {
		return f, err
	}
	if err := f.Chown(int(u.UID), int(u.GID)); err != nil {
		f.Close()
		return nil, fmt.Errorf("making a password file in memory: %w", err)
	}
	return f, nil
}
