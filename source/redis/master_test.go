package redis

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

// A serving master, and what it told.
type serving struct {
	*Master
	host, port string

	mu   sync.Mutex
	told []string
}

func serveRDB(t *testing.T, rdb []byte, from ...string) *serving {
	t.Helper()
	path := filepath.Join(t.TempDir(), "dump.rdb")
	if err := os.WriteFile(path, rdb, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &serving{Master: &Master{RDB: f, Password: "hush"}}
	s.Tell = func(text string) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.told = append(s.told, text)
	}
	for _, a := range from {
		s.Peers = append(s.Peers, netip.MustParseAddr(a))
	}
	s.host, s.port, _ = net.SplitHostPort(l.Addr().String())
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		f.Close()
	})
	return s
}

// hears waits until the master has told something with this text.
func (s *serving) hears(t *testing.T, text string) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		s.mu.Lock()
		all := strings.Join(s.told, "\n")
		s.mu.Unlock()
		if strings.Contains(all, text) {
			return
		}
	}
	t.Errorf("the master has told %q, and not %q", s.told, text)
}

// A real server becomes a replica, gets the data, hears of its master, and keeps them as a master of its own.
func TestMaster(t *testing.T) {
	from, _ := start(t, "", debug...)
	fill(t, from)
	s := serveRDB(t, saved(t, from), "127.0.0.1")
	r, admin := start(t, "", with("--masterauth", "hush", "--repl-timeout", "8")...)
	admin.Set(t.Context(), "old", 1, 0)
	follow := func(c *goredis.Client, want string) {
		t.Helper()
		for end := time.Now().Add(20 * time.Second); !strings.Contains(c.Info(t.Context(), "replication").Val(), want); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("not %s:\n%s", want, c.Info(t.Context(), "replication").Val())
			}
		}
	}
	if err := admin.Do(t.Context(), "REPLICAOF", s.host, s.port).Err(); err != nil {
		t.Fatal(err)
	}
	follow(admin, "master_link_status:up")
	// Longer than the replica waits for a master that is silent.
	time.Sleep(9 * time.Second)
	follow(admin, "master_link_status:up")
	s.mu.Lock()
	if len(s.told) > 0 {
		t.Errorf("the master told %q", s.told)
	}
	s.mu.Unlock()
	if err := admin.Do(t.Context(), "REPLICAOF", "NO", "ONE").Err(); err != nil {
		t.Fatal(err)
	}
	for db := range 4 {
		if got, want := digest(t, client(t, r, db)), digest(t, client(t, from, db)); got != want {
			t.Errorf("database %d is %s, want %s", db, got, want)
		}
	}

	// Another one gets it as well, the wrong password not.
	_, other := start(t, "", "--masterauth", "wrong")
	other.Do(t.Context(), "REPLICAOF", s.host, s.port)
	s.hears(t, "before the data set")
	if n := other.DBSize(t.Context()).Val(); n != 0 {
		t.Errorf("a server with the wrong password got %d keys", n)
	}
	other.ConfigSet(t.Context(), "masterauth", "hush")
	follow(other, "master_link_status:up")
}

// What is no replica, or not the one that is expected, gets nothing.
func TestMasterRefuses(t *testing.T) {
	const rdb = "REDIS0011 and what is secret"
	say := func(s *serving, text string) string {
		conn, err := net.Dial("tcp", net.JoinHostPort(s.host, s.port))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		io.WriteString(conn, text)
		conn.(*net.TCPConn).CloseWrite()
		answer, _ := io.ReadAll(bufio.NewReader(conn))
		return string(answer)
	}
	s := serveRDB(t, []byte(rdb), "127.0.0.1")
	const psync = "*3\r\n$5\r\nPSYNC\r\n$1\r\n?\r\n$2\r\n-1\r\n"
	for text, want := range map[string]string{
		psync: "NOAUTH",
		"*2\r\n$4\r\nAUTH\r\n$4\r\nhusk\r\n" + psync: "WRONGPASS",
		"*1\r\n$4\r\nPING\r\n*1\r\n$3\r\nGET\r\n":    "+PONG\r\n-NOAUTH",
		"GET / HTTP/1.1\r\n\r\n":                     "",
		"*99999999\r\n":                              "",
		"*1\r\n$999999999\r\n":                       "",
		strings.Repeat("*", 100_000):                 "",
		strings.Repeat("*1\r\n$4\r\nPING\r\n", 100):  "+PONG",
		"*2\r\n$4\r\nAUTH\r\n$4\r\nhush\r\n*2\r\n$8\r\nREPLCONF\r\n$1\r\nx\r\n*1\r\n$1\r\nx": "+OK\r\n+OK\r\n",
	} {
		got := say(s, text)
		if !strings.HasPrefix(got, want) && !strings.Contains(got, want) || strings.Contains(got, "secret") {
			t.Errorf("%.60q: %q, want %q", text, got, want)
		}
	}
	if got := say(s, "*3\r\n$4\r\nAUTH\r\n$1\r\nu\r\n$4\r\nhush\r\n"+psync); !strings.HasSuffix(got, fmt.Sprintf("$%d\r\n%s", len(rdb), rdb)) {
		t.Errorf("the one that is expected gets %q", got)
	}
	stranger := serveRDB(t, []byte(rdb), "192.0.2.1")
	if got := say(stranger, "*1\r\n$4\r\nPING\r\n"); got != "" {
		t.Errorf("a stranger gets %q", got)
	}
	stranger.hears(t, "not the server that was expected")
}

func TestFacing(t *testing.T) {
	r, _ := start(t, "")
	listen, from, err := Facing(t.Context(), strings.Replace(r.Addr, "127.0.0.1", "localhost", 1))
	if err != nil || listen.String() != "127.0.0.1" || len(from) == 0 {
		t.Errorf("%v, %v, %v", listen, from, err)
	}
	if _, _, err := Facing(t.Context(), "127.0.0.1:1"); err == nil {
		t.Error("there is a way to a server that is not there")
	}
}
