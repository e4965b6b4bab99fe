package sftpstore

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"permafrost/internal/sandbox"
	"permafrost/internal/sshconn"
)

// cause returns the cause of an error as a text; "" where it has none.
func cause(err error) string {
	var own *CauseError
	var way *sshconn.CauseError
	switch {
	case errors.As(err, &own):
		return string(own.Cause)
	case errors.As(err, &way):
		return string(way.Cause)
	}
	return ""
}

// refuses fails the test unless Open fails at the first attempt, with an error that holds the text and has the cause.
func refuses(t *testing.T, c Config, errText, because string) {
	t.Helper()
	c.RetryBudget = time.Second
	s, err := Open(t.Context(), c)
	if err == nil {
		s.Close()
		t.Fatalf("connected; want error %q", errText)
	}
	if !strings.Contains(err.Error(), errText) || cause(err) != because {
		t.Errorf("error: %v\ncause: %s\nwant %q and %q", err, cause(err), errText, because)
	}
	if strings.Contains(err.Error(), "gave up") {
		t.Errorf("tried again what can't be mended: %v", err)
	}
}

// An account that can't be served is an error at once, of whichever package it is.
func TestUselessAccounts(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ command, says, cause string }{
		"fails":   {"exit 1", "status 1", string(sshconn.CauseAccountUseless)},
		"nologin": {"/usr/sbin/nologin", "account is currently not available", string(CauseNotSFTP)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := config(startSSHD(t, sandbox.SSHDConfig{Config: []string{"ForceCommand " + test.command}}))
			refuses(t, c, test.says, test.cause)
			c.UseCommand = true
			refuses(t, c, test.says, test.cause)
		})
	}
	c := scriptedConfig(t, "/x", "sh", "-c", "echo Welcome to this machine, stranger; cat >/dev/null")
	refuses(t, c, "something else than SFTP", string(CauseNotSFTP))
	c = config(plainSSHD(t))
	c.IdentityFiles = []string{"/nonexistent"}
	refuses(t, c, "/nonexistent", "")
}

// What takes connections and says nothing, as a wrong port may, is waited for once and for no longer than one attempt may
// take. A person is told early that it is waited for.
func TestSilentPort(t *testing.T) {
	t.Parallel()
	server := plainSSHD(t)
	for name, command := range map[string]bool{"in process": false, "command": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			silentPort(t, server, command)
		})
	}
}

func silentPort(t *testing.T, server *sandbox.SSHD, command bool) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var came atomic.Int32
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			came.Add(1)
			defer conn.Close()
		}
	}()
	c := config(server)
	c.UseCommand, c.Port, c.DialTimeout = command, l.Addr().(*net.TCPAddr).Port, 3*time.Second
	begin := time.Now()
	var word atomic.Int64 // when it was said
	c.Waiting = func(text string) {
		if !strings.Contains(text, "waiting for an answer of 127.0.0.1") {
			t.Errorf("it says %q", text)
		}
		word.CompareAndSwap(0, int64(time.Since(begin)))
	}
	s, err := Open(t.Context(), c)
	took := time.Since(begin)
	if err == nil {
		s.Close()
		t.Fatal("connected")
	}
	if strings.Contains(err.Error(), "gave up") || cause(err) != string(CauseNoContact) {
		t.Errorf("error: %v\ncause: %s", err, cause(err))
	}
	if w := time.Duration(word.Load()); w == 0 || w > wordTime+time.Second {
		t.Errorf("the word came after %v", w)
	}
	if n := came.Load(); n != 1 || took > c.DialTimeout+2*time.Second {
		t.Errorf("%d connections and %v, where one attempt may take %v", n, took, c.DialTimeout)
	}
}

// A name that DNS does not know is an error at once: trying again makes none known.
func TestUnknownName(t *testing.T) {
	dns, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer dns.Close()
	go func() { // answers each question with NXDOMAIN, RFC 1035, 4.1.1
		p := make([]byte, 512)
		for {
			n, from, err := dns.ReadFrom(p)
			if err != nil {
				return
			}
			p[2], p[3] = p[2]|0x80, 0x83
			dns.WriteTo(p[:n], from)
		}
	}()
	before := net.DefaultResolver
	defer func() { net.DefaultResolver = before }()
	var dialer net.Dialer
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return dialer.DialContext(ctx, "udp", dns.LocalAddr().String())
	}}
	c := Config{Config: sshconn.Config{Host: "nas.invalid", User: "u", ConfigFile: "none"}, Path: "/repo"}
	begin := time.Now()
	s, err := Open(t.Context(), c)
	took := time.Since(begin)
	if err == nil {
		s.Close()
		t.Fatal("connected")
	}
	if text := err.Error(); !strings.Contains(text, "nas.invalid") || !strings.Contains(text, "no such host") || strings.Contains(text, "gave up") || took > 5*time.Second {
		t.Errorf("after %v: %v", took, err)
	}
	if cause(err) != string(CauseUnknownHost) {
		t.Errorf("cause: %s", cause(err))
	}
}
