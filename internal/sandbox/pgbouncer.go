package sandbox

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// PgBouncer is a running connection pooler.
type PgBouncer struct {
	Port int

	proc *process
}

// StartPgBouncer runs a PgBouncer in dir/pgbouncer before a database of p. Its mode is transaction, session or statement.
func StartPgBouncer(ctx context.Context, dir string, p *Postgres, db, mode string) (*PgBouncer, error) {
	program, err := find("pgbouncer", "pgbouncer")
	if err != nil {
		return nil, fmt.Errorf("starting PgBouncer: %w", err)
	}
	b := &PgBouncer{}
	dir = filepath.Join(dir, "pgbouncer")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("starting PgBouncer: %w", err)
	}
	if err := searchable(dir); err != nil {
		return nil, fmt.Errorf("starting PgBouncer: %w", err)
	}
	if err := onFreePort(func(port int) error { return b.start(ctx, program, dir, port, p, db, mode) }); err != nil {
		b.Stop()
		return nil, fmt.Errorf("starting PgBouncer: %w", err)
	}
	return b, nil
}

func (b *PgBouncer) start(ctx context.Context, program, dir string, port int, p *Postgres, db, mode string) error {
	config := fmt.Sprintf(`[databases]
%s = host=%s port=%d password='%s'
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = plain
auth_file = %s/users
pool_mode = %s
`, db, p.Host, p.Port, p.Password, port, dir, mode)
	for name, text := range map[string]string{"pgbouncer.ini": config, "users": strconv.Quote(p.User) + " " + strconv.Quote(p.Password) + "\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	cmd := exec.Command(program, filepath.Join(dir, "pgbouncer.ini"))
	if os.Geteuid() == 0 { // it refuses to run as root
		u, err := user.Lookup("nobody")
		if err != nil {
			return err
		}
		uid, _ := strconv.ParseUint(u.Uid, 10, 32)
		gid, _ := strconv.ParseUint(u.Gid, 10, 32)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	}
	proc, err := startProcess(cmd, dir+".log", syscall.SIGKILL)
	if err != nil {
		return err
	}
	b.proc, b.Port = proc, port
	return proc.await(ctx, func() bool {
		conn, err := net.DialTimeout("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), time.Second)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
}

// Stop ends the pooler.
func (b *PgBouncer) Stop() error {
	if b.proc == nil {
		return nil
	}
	return b.proc.stop()
}
