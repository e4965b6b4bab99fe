package postgres

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"permafrost/internal/fuzzing"
	"permafrost/source"
	"permafrost/source/postgres/archive"
)

// lying is a server that lets everybody in, and answers every query with the same bytes, again and again if endless.
func lying(t *testing.T, answer []byte, endless bool) source.Database {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				serveLies(c, answer, endless)
			}()
		}
	}()
	return source.Database{Host: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port, Name: "d", User: "u", SSLMode: "disable"}
}

// message returns a message of the protocol.
func message(kind byte, body ...byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{kind}, uint32(4+len(body))), body...)
}

// value returns a row of one column.
func value(text string) []byte {
	row := binary.BigEndian.AppendUint32([]byte{0, 1}, uint32(len(text)))
	return message('D', append(row, text...)...)
}

// described returns the description of rows of so many columns of text.
func described(columns int) []byte {
	body := []byte{0, byte(columns)}
	for range columns {
		body = append(body, 'x', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 25, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0)
	}
	return message('T', body...)
}

var (
	ready    = message('Z', 'I')
	complete = message('C', []byte("SELECT 1\x00")...)
)

func serveLies(c net.Conn, answer []byte, endless bool) {
	if _, err := c.Read(make([]byte, 10_000)); err != nil {
		return
	}
	hello := bytes.Join([][]byte{message('R', 0, 0, 0, 0), message('S', []byte("server_version\x0015\x00")...),
		message('S', []byte("standard_conforming_strings\x00on\x00")...), message('S', []byte("client_encoding\x00UTF8\x00")...), message('K', 0, 0, 0, 7, 0, 0, 0, 1), ready}, nil)
	c.Write(hello)
	for {
		b := make([]byte, 10_000)
		n, err := c.Read(b)
		if err != nil {
			return
		}
		said := answer
		if bytes.Contains(b[:n], []byte("pg_backend_pid")) {
			said = bytes.Join([][]byte{described(1), value("7"), complete, ready}, nil)
		} else if b[0] != 'Q' || bytes.HasPrefix(b[5:], []byte("set ")) {
			said = bytes.Join([][]byte{message('C', []byte("SET\x00")...), ready}, nil)
		}
		for {
			if _, err := c.Write(said); err != nil {
				return
			}
			if !endless || &said[0] != &answer[0] {
				break
			}
		}
	}
}

// A server that Mastodon's user has chosen can make nobody take memory or time without bound.
func TestLyingServer(t *testing.T) {
	huge := append([]byte{'D'}, 0x7f, 0xff, 0xff, 0xff)
	notice := message('N', []byte("SNOTICE\x00C00000\x00M"+strings.Repeat("x", 1000)+"\x00\x00")...)
	many := bytes.Repeat(notice, 100)
	for _, c := range []struct {
		name    string
		answer  []byte
		endless bool
	}{
		{"a huge row", append(described(11), huge...), false},
		{"a huge error", append([]byte{'E'}, 0x7f, 0xff, 0xff, 0xff), false},
		{"a huge notice", append([]byte{'N'}, 0x7f, 0xff, 0xff, 0xff), false},
		{"notices without end", many, true},
		{"settings without end", bytes.Repeat(message('S', []byte("a\x00"+strings.Repeat("b", 1000)+"\x00")...), 100), true},
		{"an error of a mebibyte", message('E', []byte("SERROR\x00C42501\x00M"+strings.Repeat("\x1b", 1<<20)+"\x00\x00")...), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := Connect(ctx, lying(t, c.answer, c.endless), Options{Stderr: io.Discard})
			runtime.ReadMemStats(&after)
			if err == nil || ctx.Err() != nil {
				t.Errorf("error %.200v", err)
			}
			if took := after.TotalAlloc - before.TotalAlloc; took > 500<<20 {
				t.Errorf("%d MiB", took>>20)
			}
		})
	}
}

// Rows and texts beyond what a database has are an error.
func TestFactsAreBounded(t *testing.T) {
	if checkTexts("15.14", "") != nil || checkTexts(strings.Repeat("x", maxText+1)) == nil || checkTexts("", "a\x00") == nil {
		t.Error("texts are not looked at")
	}
	s := connect(t, newDatabase(t), Options{})
	conn, err := s.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer closeConn(conn)
	if _, err := readMap[int64](t.Context(), conn, "select i::text, i from generate_series(1, 20000) i"); err == nil {
		t.Error("rows without bound are taken")
	}
	if _, err := readMap[string](t.Context(), conn, "select repeat('x', 5000), 'x'"); err == nil {
		t.Error("names without bound are taken")
	}
}

// A table of contents without an end is not kept in memory, and what was read of it is part of the dump.
func TestEndlessContents(t *testing.T) {
	number := func(n byte) string { return string([]byte{0, n, 0, 0, 0}) }
	const absent = "\x01\x01\x00\x00\x00" // -1
	entry := number(1) + number(0) + strings.Repeat(absent, 4) + number(1) + strings.Repeat(absent, 6) +
		absent + number(0) + absent + strings.Repeat("\x00", 9)
	contents := "PGDMP\x01\x0e\x00\x04\x08\x01" + strings.Repeat(number(0), 8) + strings.Repeat(absent, 3) + "\x00\x00\x00\xf0\x00" +
		strings.Repeat(entry, (archive.MaxHead+archive.MaxHead/2)/len(entry))
	file := filepath.Join(t.TempDir(), "contents")
	if err := os.WriteFile(file, []byte(contents), 0o644); err != nil {
		t.Fatal(err)
	}
	s := connect(t, newDatabase(t), Options{BinDir: wrap(t, "cat "+file, "cat >/dev/null")})
	snap := export(t, s)
	var d *Dump
	var err error
	fuzzing.Bound(t, 6*archive.MaxHead, func() { d, err = snap.Dump(t.Context()) })
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	n, err := io.Copy(io.Discard, d)
	if err != nil || n != int64(len(contents)) || d.Facts().Note == "" || d.Facts().Entries != 0 {
		t.Errorf("%d bytes of %d, %+v, %v", n, len(contents), d.Facts(), err)
	}
}
