package sandbox

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// Postgres is a running PostgreSQL cluster. Its one role is a superuser: over
// TCP it needs the password (SCRAM), over the socket it is known by peer
// authentication, for the operating-system user OSUser alone.
type Postgres struct {
	Host      string // 127.0.0.1
	Port      int
	SocketDir string
	User      string // "mastodon"
	Password  string
	BinDir    string // holds psql, pg_dump and their like, of the server's version
	OSUser    string // runs the server

	dir     string // dir/postgres
	proc    *process
	passing string // file with the password, for PGPASSFILE
	scratch string // socket directory outside dir; empty where dir is short enough
}

// settings make a cluster quick and repeatable: nothing waits for a disk, and
// no background worker moves rows on its own.
const settings = `
listen_addresses = '127.0.0.1'
max_connections = 200
shared_buffers = '128MB'
fsync = off
synchronous_commit = off
full_page_writes = off
autovacuum = off
max_wal_size = '4GB'
checkpoint_timeout = '1h'
log_min_messages = warning
`

// authentication is pg_hba.conf: the map "sandbox" lets OSUser in as mastodon.
const authentication = `
local all,replication all peer map=sandbox
host  all             all 127.0.0.1/32 scram-sha-256
host  replication     all 127.0.0.1/32 scram-sha-256
`

// StartPostgres makes a cluster in dir/postgres and runs it. A process of root
// runs it as the user postgres, or else nobody, since PostgreSQL refuses to
// run as root; dir, and what is above it in the temporary directory, is made
// searchable for that user.
func StartPostgres(ctx context.Context, dir string) (*Postgres, error) {
	p, err := newPostgres(dir)
	if err != nil {
		return nil, fmt.Errorf("starting PostgreSQL: %w", err)
	}
	if err := p.init(ctx); err != nil {
		p.Stop()
		return nil, fmt.Errorf("making a PostgreSQL cluster: %w", err)
	}
	err = onFreePort(func(port int) error { return p.start(ctx, port) })
	if err == nil {
		err = p.setPassword(ctx)
	}
	if err != nil {
		p.Stop()
		return nil, fmt.Errorf("starting PostgreSQL: %w", err)
	}
	return p, nil
}

func newPostgres(dir string) (*Postgres, error) {
	bin, err := postgresBin()
	if err != nil {
		return nil, err
	}
	account, err := serverAccount()
	if err != nil {
		return nil, err
	}
	dir, err = filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	p := &Postgres{
		Host: "127.0.0.1", User: "mastodon", Password: rand.Text(),
		BinDir: bin, OSUser: account.Username,
		dir: filepath.Join(dir, "postgres"),
	}
	p.passing = filepath.Join(dir, "postgres.pgpass")
	p.SocketDir = filepath.Join(p.dir, "socket")
	// A socket's address holds 107 bytes, ".s.PGSQL.65535" among them.
	if len(p.SocketDir) > 90 {
		if p.scratch, err = os.MkdirTemp("/tmp", "sandbox-"); err != nil {
			return nil, err
		}
		p.SocketDir = p.scratch
	}
	return p, nil
}

// postgresBin finds the newest server's programs.
func postgresBin() (string, error) {
	version := func(path string) int {
		n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path))))
		return n
	}
	servers, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil {
		return "", err
	}
	if len(servers) > 0 {
		newest := slices.MaxFunc(servers, func(a, b string) int { return version(a) - version(b) })
		return filepath.Dir(newest), nil
	}
	initdb, err := find("initdb", "postgresql")
	if err != nil {
		return "", err
	}
	return filepath.Dir(initdb), nil
}

// serverAccount tells who runs the server.
func serverAccount() (*user.User, error) {
	if os.Geteuid() != 0 {
		return user.Current()
	}
	if u, err := user.Lookup("postgres"); err == nil {
		return u, nil
	}
	return user.Lookup("nobody")
}

// init makes the directories, hands them to the server's user and makes a cluster there.
func (p *Postgres) init(ctx context.Context) error {
	dirs := []string{p.dir, p.data()}
	if err := os.MkdirAll(p.dir, 0o755); err != nil {
		return err
	}
	if err := os.Mkdir(p.data(), 0o700); err != nil {
		return err
	}
	if err := os.MkdirAll(p.SocketDir, 0o755); err != nil {
		return err
	}
	if err := os.Chmod(p.SocketDir, 0o755); err != nil {
		return err
	}
	if err := p.own(append(dirs, p.SocketDir)...); err != nil {
		return err
	}
	if err := p.initCluster(ctx); err != nil {
		return err
	}
	return p.configure()
}

// configure writes the cluster's settings and the client's password file.
func (p *Postgres) configure() error {
	conf, err := os.ReadFile(filepath.Join(p.data(), "postgresql.conf"))
	if err != nil {
		return err
	}
	files := map[string]string{
		"postgresql.conf": string(conf) + settings + "unix_socket_directories = '" + strings.ReplaceAll(p.SocketDir, "'", "''") + "'\n",
		"pg_hba.conf":     authentication,
		"pg_ident.conf":   "sandbox " + strconv.Quote(p.OSUser) + " " + p.User + "\n",
	}
	for name, text := range files {
		if err := p.write(filepath.Join(p.data(), name), text); err != nil {
			return err
		}
	}
	return os.WriteFile(p.passing, []byte("*:*:*:"+p.User+":"+p.Password+"\n"), 0o600)
}

// start runs the server and waits until it takes connections.
func (p *Postgres) start(ctx context.Context, port int) error {
	cmd := p.command(context.Background(), "postgres", "-D", p.data(), "-p", strconv.Itoa(port))
	// SIGQUIT ends the server at once, and unlike SIGKILL leaves no shared
	// memory behind.
	proc, err := startProcess(cmd, p.dir+".log", syscall.SIGQUIT)
	if err != nil {
		return err
	}
	p.proc, p.Port = proc, port
	return proc.await(ctx, func() bool {
		status, err := os.ReadFile(filepath.Join(p.data(), "postmaster.pid"))
		lines := strings.Split(string(status), "\n")
		return err == nil && len(lines) > 7 && strings.TrimSpace(lines[7]) == "ready"
	})
}

// setPassword gives the role its password. Until then the server lets it in over the socket alone.
func (p *Postgres) setPassword(ctx context.Context) error {
	cmd := p.command(ctx, "psql", "-X", "-q", "-h", p.SocketDir, "-p", strconv.Itoa(p.Port), "-U", p.User, "-d", "postgres")
	cmd.Stdin = strings.NewReader("alter role " + p.User + " password '" + p.Password + "'")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("psql: %w: %s", err, out)
	}
	return nil
}

// URL returns the connection string of a database, over TCP, password included.
func (p *Postgres) URL(db string) string {
	u := url.URL{
		Scheme: "postgres",
		User:   url.UserPassword(p.User, p.Password),
		Host:   p.Host + ":" + strconv.Itoa(p.Port),
		Path:   "/" + db,
	}
	return u.String()
}

// Exec runs SQL statements, or psql's own commands, in a database. It stops at
// the first one that fails.
func (p *Postgres) Exec(ctx context.Context, db, sql string) error {
	_, err := p.Query(ctx, db, sql)
	return err
}

// Query is Exec, and returns what psql printed: a line for each row, with "|"
// between columns.
func (p *Postgres) Query(ctx context.Context, db, sql string) (string, error) {
	cmd := p.Command(ctx, "psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", db, "-f", "-")
	cmd.Stdin = strings.NewReader(sql)
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("psql: %w: %s", err, strings.TrimSpace(said.String()))
	}
	return string(out), nil
}

// Command returns a client program of BinDir, set up to reach the server over
// TCP. The password goes to it in a file.
func (p *Postgres) Command(ctx context.Context, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(p.BinDir, program), args...)
	cmd.Env = append(plainEnv(), "PGHOST="+p.Host, "PGPORT="+strconv.Itoa(p.Port),
		"PGUSER="+p.User, "PGPASSFILE="+p.passing)
	return cmd
}

// Stop ends the server. What it kept stays in dir.
func (p *Postgres) Stop() error {
	var err error
	if p.proc != nil {
		err = p.proc.stop()
	}
	if p.scratch != "" {
		os.RemoveAll(p.scratch)
	}
	return err
}

// command returns a program of BinDir that runs as the server's user.
func (p *Postgres) command(ctx context.Context, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(p.BinDir, program), args...)
	cmd.Env = append(plainEnv(), "TZ=UTC")
	cmd.Dir = p.dir
	if os.Geteuid() == 0 {
		uid, gid, err := p.ids()
		if err != nil {
			cmd.Err = err
		}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: gid}}
	}
	return cmd
}

func (p *Postgres) data() string { return filepath.Join(p.dir, "data") }

// write makes a file that the server's user owns, for its eyes only.
func (p *Postgres) write(path, text string) error {
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return err
	}
	return p.own(path)
}

// own hands paths to the server's user, and lets that user through to them.
func (p *Postgres) own(paths ...string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	if err := searchable(filepath.Dir(p.dir)); err != nil {
		return err
	}
	uid, gid, err := p.ids()
	if err != nil {
		return err
	}
	for _, path := range paths {
		if err := os.Chown(path, int(uid), int(gid)); err != nil {
			return err
		}
	}
	return nil
}

// searchable lets every user pass through dir, and through the directories
// between it and the temporary one: tests get theirs below one of mode 0700.
func searchable(dir string) error {
	for {
		fi, err := os.Stat(dir)
		if err != nil {
			return err
		}
		if err := os.Chmod(dir, fi.Mode().Perm()|0o011); err != nil {
			return err
		}
		dir = filepath.Dir(dir)
		inside, err := filepath.Rel(os.TempDir(), dir)
		if err != nil || inside == "." || !filepath.IsLocal(inside) {
			return nil
		}
	}
}

func (p *Postgres) ids() (uid, gid uint32, err error) {
	u, err := user.Lookup(p.OSUser)
	if err != nil {
		return 0, 0, err
	}
	id, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return 0, 0, err
	}
	group, err := strconv.ParseUint(u.Gid, 10, 32)
	return uint32(id), uint32(group), err
}

// plainEnv is the environment without libpq's variables, which would lead a
// client astray, and with messages in English.
func plainEnv() []string {
	env := slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "PG") || strings.HasPrefix(v, "LC_") || strings.HasPrefix(v, "LANG")
	})
	return append(env, "LC_ALL=C.UTF-8")
}
