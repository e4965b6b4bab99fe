package sandbox

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// RedisConfig says how a Redis differs from one that is open to all, saves
// only on demand and keeps no append-only file.
type RedisConfig struct {
	Password string
	Args     []string // further redis-server arguments, such as "--appendonly", "yes"

	// Own makes the server run as a user of its own where it is started by root, as on a real host. dir is made
	// searchable for that user.
	Own bool
}

// Redis is a running Redis server.
type Redis struct {
	Addr     string // host:port
	Dir      string // where the server keeps dump.rdb
	Password string
	PID      int

	user *syscall.Credential // nil: who starts it
	args []string
	port int
	proc *process
}

// redisAccount is the user that Debian's package makes for Redis.
const redisAccount = "redis"

// StartRedis runs a Redis server in dir/redis. A dump.rdb that is there is
// loaded.
func StartRedis(ctx context.Context, dir string, c RedisConfig) (*Redis, error) {
	server, err := find("redis-server", "redis-server")
	if err != nil {
		return nil, fmt.Errorf("starting Redis: %w", err)
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, fmt.Errorf("starting Redis: %w", err)
	}
	r := &Redis{Dir: filepath.Join(dir, "redis"), Password: c.Password, args: c.Args}
	if err := os.MkdirAll(r.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("starting Redis: %w", err)
	}
	if c.Own && os.Geteuid() == 0 {
		if r.user, err = redisUser(); err == nil {
			err = searchable(dir)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("starting Redis: %w", err)
	}
	err = onFreePort(func(port int) error {
		r.port = port
		return r.start(ctx, server)
	})
	if err != nil {
		r.Stop()
		return nil, fmt.Errorf("starting Redis: %w", err)
	}
	return r, nil
}

// Restart starts a server that was stopped on the port that it had.
func (r *Redis) Restart(ctx context.Context) error {
	server, err := find("redis-server", "redis-server")
	if err == nil {
		err = r.start(ctx, server)
	}
	if err != nil {
		return fmt.Errorf("starting Redis again: %w", err)
	}
	return nil
}

func (r *Redis) start(ctx context.Context, server string) error {
	conf := fmt.Sprintf("bind 127.0.0.1\nport %d\ndir %s\nsave \"\"\nappendonly no\ndaemonize no\n",
		r.port, strconv.Quote(r.Dir))
	if r.Password != "" {
		conf += "requirepass " + strconv.Quote(r.Password) + "\n"
	}
	path := r.Dir + ".conf"
	if err := os.WriteFile(path, []byte(conf), 0o600); err != nil {
		return err
	}
	if err := r.own(path); err != nil {
		return err
	}
	cmd := exec.Command(server, append([]string{path}, r.args...)...)
	cmd.Dir = r.Dir
	if r.user != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: r.user}
	}
	proc, err := startProcess(cmd, r.Dir+".log", syscall.SIGTERM)
	if err != nil {
		return err
	}
	r.proc, r.PID = proc, proc.cmd.Process.Pid
	r.Addr = net.JoinHostPort("127.0.0.1", strconv.Itoa(r.port))
	return proc.await(ctx, r.Answers)
}

// redisUser returns Debian's user for Redis.
func redisUser() (*syscall.Credential, error) {
	u, err := user.Lookup(redisAccount)
	if err != nil {
		return nil, err
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, err
}

// own gives the server's user its configuration, and its directory with what is in it.
func (r *Redis) own(conf string) error {
	if r.user == nil {
		return nil
	}
	files, err := filepath.Glob(filepath.Join(r.Dir, "*"))
	if err != nil {
		return err
	}
	for _, path := range append(files, conf, r.Dir) {
		if err := os.Chown(path, int(r.user.Uid), int(r.user.Gid)); err != nil {
			return err
		}
	}
	return nil
}

// Answers tells whether the server takes commands; that it asks for a password
// first is an answer, that it still loads its file is not.
func (r *Redis) Answers() bool {
	conn, err := net.DialTimeout("tcp", r.Addr, time.Second)
	if err != nil {
		return false
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Second))
	if _, err := fmt.Fprint(conn, "PING\r\n"); err != nil {
		return false
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	return err == nil && (strings.HasPrefix(line, "+PONG") || strings.HasPrefix(line, "-NOAUTH"))
}

// URL returns the address of database 0, password included.
func (r *Redis) URL() string {
	u := url.URL{Scheme: "redis", Host: r.Addr, Path: "/0"}
	if r.Password != "" {
		u.User = url.UserPassword("", r.Password)
	}
	return u.String()
}

// Stop ends the server without a last save.
func (r *Redis) Stop() error {
	if r.proc == nil {
		return nil
	}
	return r.proc.stop()
}
