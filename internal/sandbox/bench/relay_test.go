package main

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"
)

// Whatever is sent comes back, whole and in order, and not before it was under way for as long as the relay says.
func TestRelay(t *testing.T) {
	echo, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer echo.Close()
	go func() {
		c, err := echo.Accept()
		if err == nil {
			io.Copy(c, c)
			c.Close()
		}
	}()
	const delay = 30 * time.Millisecond
	r, err := newRelay(echo.Addr().String(), delay)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	c, err := net.Dial("tcp", r.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	data := make([]byte, 5<<20)
	rand.NewChaCha8([32]byte{1}).Read(data)
	began := time.Now()
	go func() {
		c.Write(data)
		c.(*net.TCPConn).CloseWrite()
	}()
	got, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d of %d bytes came back: %v", len(got), len(data), err)
	}
	if took := time.Since(began); took < 2*delay {
		t.Errorf("there and back took %v", took)
	}
}

func TestTable(t *testing.T) {
	var out strings.Builder
	table(&out, []measurement{
		{Phase: "night", Program: "permafrost", Wall: 4 * time.Second, Stored: 5e6},
		{Phase: "night", Program: "restic", Wall: 20 * time.Second},
		{Phase: "night", Program: "borg", Wall: 10 * time.Second},
		{Phase: "night", Program: "rsync", Wall: time.Second},
		{Phase: "check", Program: "permafrost", Wall: time.Second},
	}, map[string]bool{"rsync": true})
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 6 || !strings.HasSuffix(lines[1], "5.00 MB  0.40") || strings.HasPrefix(lines[2], "night") {
		t.Errorf("the table is\n%s", out.String())
	}
}
