package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"permafrost/cmd/permafrost/internal/console"
	"permafrost/cmd/permafrost/internal/place"
)

// A silentServer takes connections and says nothing. dialled hears of each, ended of its end.
func silentServer(t *testing.T) (port int, dialled, ended chan struct{}) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	dialled, ended = make(chan struct{}, 100), make(chan struct{}, 100)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			dialled <- struct{}{}
			go func() {
				io.Copy(io.Discard, c)
				c.Close()
				ended <- struct{}{}
			}()
		}
	}()
	return l.Addr().(*net.TCPAddr).Port, dialled, ended
}

// The storage is dialled while the instance is found. Where that fails this is the error, and the dial ends with it.
func TestOpenInstance(t *testing.T) {
	port, dialled, ended := silentServer(t)
	dir := t.TempDir()
	// It answers once the storage is dialled.
	script := "#!/bin/sh\ncd \"${0%/*}\"\nfor i in $(seq 100); do test -e dialled && exec echo podman; sleep 0.1; done\necho nobody dialled >&2; exit 1\n"
	if err := os.WriteFile(filepath.Join(dir, "engine"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	go func() {
		<-dialled
		os.WriteFile(filepath.Join(dir, "dialled"), nil, 0o600)
	}()
	var out bytes.Buffer
	a := &app{ui: console.New(&out, &out), repository: "sftp://u@127.0.0.1:" + strconv.Itoa(port) + "/repo", storage: place.Options{SSHConfig: "none"}}
	flags := &snapshotFlags{live: filepath.Join(dir, "live")}
	flags.deployment.Engine = filepath.Join(dir, "engine")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	_, _, err := a.openInstance(ctx, flags)
	// The engine's further answers are none that podman gives.
	if err == nil || !strings.Contains(err.Error(), "podman asks a remote service") {
		t.Errorf("the error is %v", err)
	}
	if ctx.Err() != nil {
		t.Error("the dial went on")
	}
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
		t.Error("the connection is still there")
	}
	if out.Len() > 0 {
		t.Errorf("it says %q", out.String())
	}
}
