package sftpstore

import (
	"net"
	"strconv"
	"testing"
	"time"

	"permafrost/internal/sandbox"
)

// startRelay returns a relay in front of the server, and a configuration that goes through it.
func startRelay(t testing.TB, server *sandbox.SSHD, delay time.Duration) (*sandbox.Relay, Config) {
	t.Helper()
	c := config(server)
	r, err := sandbox.StartRelay(net.JoinHostPort(server.Host, strconv.Itoa(server.Port)), delay)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	c.Port = r.Port()
	c.KnownHostsFiles = []string{rename(t, server.KnownHosts, server.Port, c.Port)}
	c.RetryBudget = 20 * time.Second
	return r, c
}
