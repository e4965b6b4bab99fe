package sandbox

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
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
}

// Redis is a running Redis server.
type Redis struct {
	Addr     string // host:port
	Dir      string // where the server keeps dump.rdb
	Password string
	PID      int

	proc *process
}

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
	r := &Redis{Dir: filepath.Join(dir, "redis"), Password: c.Password}
	if err := os.MkdirAll(r.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("starting Redis: %w", err)
	}
	err = onFreePort(func(port int) error { return r.start(ctx, server, port, c.Args) })
	if err != nil {
		r.Stop()
		return nil, fmt.Errorf("starting Redis: %w", err)
	}
	return r, nil
}

func (r *Redis) start(ctx context.Context, server string, port int, args []string) error {
	conf := fmt.Sprintf("bind 127.0.0.1\nport %d\ndir %s\nsave \"\"\nappendonly no\ndaemonize no\n",
		port, strconv.Quote(r.Dir))
	if r.Password != "" {
		conf += "requirepass " + strconv.Quote(r.Password) + "\n"
	}
	path := r.Dir + ".conf"
	if err := os.WriteFile(path, []byte(conf), 0o600); err != nil {
		return err
	}
	proc, err := startProcess(exec.Command(server, append([]string{path}, args...)...), r.Dir+".log", syscall.SIGTERM)
	if err != nil {
		return err
	}
	r.proc, r.PID = proc, proc.cmd.Process.Pid
	r.Addr = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	return proc.await(ctx, r.answers)
}

// answers tells whether the server takes commands; that it asks for a password
// first is an answer, that it still loads its file is not.
func (r *Redis) answers() bool {
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
