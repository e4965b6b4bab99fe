package sandbox

import (
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
)

func TestPostgres(t *testing.T) {
	ctx := t.Context()
	p, err := StartPostgres(ctx, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer p.Stop()

	if err := p.Exec(ctx, "postgres", "CREATE DATABASE d"); err != nil {
		t.Fatal(err)
	}
	if err := p.Exec(ctx, "d", "SELECT 1; SELECT nonsense; SELECT 2"); err == nil {
		t.Error("Exec: no error for nonsense")
	}

	conn, err := pgx.Connect(ctx, p.URL("d"))
	if err != nil {
		t.Fatal(err)
	}
	var super, encoding string
	err = conn.QueryRow(ctx, `SELECT current_setting('is_superuser'), current_setting('server_encoding')`).Scan(&super, &encoding)
	if err != nil || super != "on" || encoding != "UTF8" {
		t.Errorf("is_superuser %q, server_encoding %q, %v", super, encoding, err)
	}
	conn.Close(ctx)

	if _, err := pgx.Connect(ctx, strings.Replace(p.URL("d"), p.Password, "wrong", 1)); err == nil {
		t.Error("a wrong password was accepted")
	}

	pid := p.proc.cmd.Process.Pid
	if err := p.Stop(); err != nil {
		t.Error(err)
	}
	if alive(pid) {
		t.Error("the server runs on after Stop")
	}
	if err := p.Stop(); err != nil {
		t.Errorf("second Stop: %v", err)
	}
}

// The socket knows who asks: the operating-system user that the map names is
// let in as mastodon, without a password, and no other.
func TestPostgresPeer(t *testing.T) {
	ctx := t.Context()
	p, err := StartPostgres(ctx, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer p.Stop()

	ask := func(uid, gid int) error {
		cmd := exec.CommandContext(ctx, p.BinDir+"/psql", "-X", "-h", p.SocketDir, "-p", strconv.Itoa(p.Port),
			"-U", p.User, "-d", "postgres", "-c", "SELECT 1")
		cmd.Env, cmd.Dir = plainEnv(), "/"
		if uid != os.Geteuid() {
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
		}
		out, err := cmd.CombinedOutput()
		t.Logf("uid %d: %s", uid, out)
		return err
	}
	u, err := user.Lookup(p.OSUser)
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	if err := ask(uid, gid); err != nil {
		t.Errorf("%s was refused: %v", p.OSUser, err)
	}
	if os.Geteuid() == 0 {
		if ask(0, 0) == nil {
			t.Error("root was let in as mastodon")
		}
	}
}

// A socket's address is short; a directory's need not be.
func TestPostgresLongPath(t *testing.T) {
	dir := t.TempDir() + "/" + strings.Repeat("long", 20)
	p, err := StartPostgres(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Stop()
	if _, err := os.Stat(p.SocketDir + "/.s.PGSQL." + strconv.Itoa(p.Port)); err != nil {
		t.Error(err)
	}
	if err := p.Stop(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(p.SocketDir); !os.IsNotExist(err) {
		t.Errorf("socket directory after Stop: %v", err)
	}
}
