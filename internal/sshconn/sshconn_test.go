package sshconn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pkg/sftp"

	"permafrost/internal/sandbox"
)

// proxyArg makes the test's binary pass its standard input and output on to an address.
const proxyArg = "proxy"

func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == proxyArg {
		conn, err := net.Dial("tcp", os.Args[2])
		if err != nil {
			os.Exit(1)
		}
		go io.Copy(conn, os.Stdin)
		io.Copy(os.Stdout, conn)
		return
	}
	os.Unsetenv("SSH_AUTH_SOCK")
	code := m.Run()
	if err := shared.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// shared is the server of all tests that want a plain one.
var shared sandbox.SharedSSHD

func plainSSHD(t *testing.T) *sandbox.SSHD {
	t.Helper()
	server, err := shared.Get()
	if err != nil {
		t.Fatal(err)
	}
	return server
}

func startSSHD(t *testing.T, c sandbox.SSHDConfig) *sandbox.SSHD {
	t.Helper()
	server, err := sandbox.StartSSHD(context.Background(), t.TempDir(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	return server
}

func config(s *sandbox.SSHD) Config {
	return Config{Host: s.Host, Port: s.Port, User: s.User,
		IdentityFiles: []string{s.IdentityFile}, KnownHostsFiles: []string{s.KnownHosts}, ConfigFile: "none"}
}

// A client is a connection and a client of SFTP on it.
type client struct {
	*sftp.Client
	conn   Conn
	stream Stream
}

func (c *client) Close() {
	c.stream.Close()
	c.conn.Close()
}

// unclosed is a stream that the library does not close where the greeting fails: that would end a process which is about to say
// why.
type unclosed struct{ io.Writer }

func (unclosed) Close() error { return nil }

// greet starts SFTP on a new connection, as far as the greetings.
func greet(ctx context.Context, d *Dialer) (*client, error) {
	conn, err := d.Dial(ctx)
	if err != nil {
		return nil, err
	}
	stream, err := conn.StartSFTP(ctx)
	if err != nil {
		conn.Close()
		return nil, err
	}
	c, err := sftp.NewClientPipe(stream, unclosed{stream})
	made := &client{c, conn, stream}
	if err != nil {
		err = stream.Explain(err)
		made.Close()
		return nil, err
	}
	return made, nil
}

func connect(t *testing.T, c Config) *client {
	t.Helper()
	d, err := NewDialer(c)
	if err != nil {
		t.Fatal(err)
	}
	made, err := greet(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(made.Close)
	return made
}

// works fails the test unless the connection leads to this machine's files.
func works(t *testing.T, c *client) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "made")
	f, err := c.Create(file)
	if err == nil {
		err = f.Close()
	}
	if err == nil {
		_, err = os.Stat(file)
	}
	if err != nil {
		t.Error(err)
	}
}

// cause returns the cause of an error and its facts, as one text; "" where it has none.
func cause(err error) string {
	var e *CauseError
	if !errors.As(err, &e) {
		return ""
	}
	return strings.Join(append([]string{string(e.Cause)}, e.Facts...), " ")
}

// refuses fails the test unless connecting fails for good, with an error that holds the text and has the cause.
func refuses(t *testing.T, c Config, errText, because string) {
	t.Helper()
	d, err := NewDialer(c)
	if err == nil {
		var made *client
		if made, err = greet(t.Context(), d); err == nil {
			made.Close()
			t.Fatalf("connected; want error %q", errText)
		}
		if !Permanent(err) {
			t.Errorf("it would be tried again: %v", err)
		}
	}
	if !strings.Contains(err.Error(), errText) || !strings.Contains(cause(err), because) {
		t.Errorf("error: %v\ncause: %s\nwant %q and %q", err, cause(err), errText, because)
	}
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// scripted returns the path of a script that stands in for ssh: it runs the command instead.
func scripted(t *testing.T, command ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ssh")
	text := "#!/bin/sh\nexec '" + strings.Join(command, "' '") + "'\n"
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// transports runs f for both ways to connect.
func transports(t *testing.T, f func(t *testing.T, command bool)) {
	t.Run("in process", func(t *testing.T) { f(t, false) })
	t.Run("command", func(t *testing.T) { f(t, true) })
}
