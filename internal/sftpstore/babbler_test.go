package sftpstore

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// babblerArg makes the test's binary an SFTP server of a few packets, made by hand, that answers as one of babblers does.
const babblerArg = "serve-babble"

// A babbler returns the answer to the nth request to read a directory, less its length and number.
type babbler func(n int) []byte

// always is a babbler with one answer, which is made once: of some there are many thousands.
func always(answer func() []byte) babbler {
	made := sync.OnceValue(answer)
	return func(int) []byte { return made() }
}

const millions = 1 << 22 // of names: no end to a test, and one to its machine

var babblers = map[string]babbler{
	"new names for ever": func(n int) []byte {
		return page(100, func(i int) string { return fmt.Sprintf("n%d", n*100+i) }, size(1))
	},
	"one name for ever":  always(func() []byte { return page(100, func(int) string { return "a" }, size(1)) }),
	"names of no object": always(func() []byte { return page(100, func(int) string { return "../A" }, size(1)) }),
	"huge names":         always(func() []byte { return page(1, func(int) string { return strings.Repeat("a", 200<<10) }, size(1)) }),
	"directories for ever": func(n int) []byte {
		return page(100, func(i int) string { return fmt.Sprintf("d%d", n*100+i) }, directory)
	},
	"a tree for ever": func(n int) []byte {
		if n%2 == 1 {
			return text(text([]byte{fxpStatus, 0, 0, 0, fxEOF}, ""), "")
		}
		return page(100, func(i int) string { return fmt.Sprintf("d%d", i) }, directory)
	},
	"empty pages":               always(func() []byte { return page(0, nil, nil) }),
	"a negative size":           func(int) []byte { return page(1, func(int) string { return "a" }, size(1<<63)) },
	"too many names for a page": func(int) []byte { return []byte{fxpName, 0xff, 0xff, 0xff, 0xff} },
	"too many attributes": func(int) []byte {
		return page(1, func(int) string { return "a" }, []byte{0x80, 0, 0, 0, 0xff, 0xff, 0xff, 0xff})
	},
	"a name longer than a page":  func(int) []byte { return []byte{fxpName, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 'a'} },
	"a handle":                   func(int) []byte { return text([]byte{fxpHandle}, "h") },
	"a failure of many words":    func(int) []byte { return text([]byte{fxpStatus, 0, 0, 0, 4}, strings.Repeat("words ", 40_000)) },
	"a failure cut short":        func(int) []byte { return []byte{fxpStatus, 0} },
	"a directory in a directory": always(func() []byte { return page(1, func(int) string { return "a" }, directory) }),
}

func text(to []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint32(to, uint32(len(s))), s...)
}

func size(n uint64) []byte { return binary.BigEndian.AppendUint64([]byte{0, 0, 0, 1}, n) }

var directory = []byte{0, 0, 0, 4, 0, 0, 0o40000 >> 8, 0}

func page(n int, name func(int) string, attributes []byte) []byte {
	p := binary.BigEndian.AppendUint32([]byte{fxpName}, uint32(n))
	for i := range n {
		p = append(text(text(p, name(i)), ""), attributes...)
	}
	return p
}

func babble(in io.Reader, out io.Writer, answer babbler) {
	for n := 0; n < millions; {
		request, err := readPacket(in)
		if err != nil {
			return
		}
		var body []byte
		switch request[4] {
		case 1: // init
			out.Write([]byte{0, 0, 0, 5, fxpVersion, 0, 0, 0, 3})
			continue
		case fxpOpendir:
			body = text([]byte{fxpHandle}, "h")
		case fxpReaddir:
			body = answer(n)
			n++
		case 16: // realpath
			body = page(1, func(int) string { return "/" }, []byte{0, 0, 0, 0})
		case 17: // stat
			body = append([]byte{105}, directory...)
		case fxpClose:
			body = text(text([]byte{fxpStatus, 0, 0, 0, 0}, ""), "")
		default:
			body = text(text([]byte{fxpStatus, 0, 0, 0, 4}, strings.Repeat("no ", 60_000)), "")
		}
		packet := binary.BigEndian.AppendUint32(nil, uint32(len(body)+4))
		packet = append(append(packet, body[0]), request[5:9]...)
		out.Write(append(packet, body[1:]...))
	}
}

func babbling(t *testing.T, kind string) *Store {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := scriptedConfig(t, "/repo", self, babblerArg, kind)
	c.Lasting, c.Connections, c.RetryBudget = func(string) {}, 1, time.Second
	return open(t, c)
}

// A listing that has no end, or makes no sense, ends in an error, and is not kept meanwhile.
func TestBabblingServer(t *testing.T) {
	want := map[string]string{
		"new names for ever": "does not come to an end", "one name for ever": "does not come to an end",
		"names of no object": "does not come to an end", "huge names": "does not come to an end",
		"directories for ever": "does not come to an end", "empty pages": "does not come to an end",
		"a directory in a directory": "does not come to an end",
		"a tree for ever":            "4096 directories",
		"a negative size":            "has 9223372036854775808 bytes",
		"too many names for a page":  errCut.Error(), "too many attributes": errCut.Error(), "a name longer than a page": errCut.Error(),
		"a handle": "type 102 where 104 is due", "a failure of many words": "words words", "a failure cut short": errCut.Error(),
	}
	for kind := range babblers {
		t.Run(kind, func(t *testing.T) {
			s := babbling(t, kind)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			objects := 0
			var err error
			for _, e := range s.List(ctx, "") {
				if err = e; err != nil {
					break
				}
				objects++
			}
			runtime.ReadMemStats(&after)
			most := after.HeapSys - min(after.HeapSys, before.HeapSys)
			if err == nil || !strings.Contains(err.Error(), want[kind]) || len(err.Error()) > 2*maxMessage {
				t.Errorf("%.3000v; want %q", err, want[kind])
			}
			if objects > 0 || most > 200<<20 {
				t.Errorf("%d objects; %d MiB more memory", objects, most>>20)
			}
		})
	}
}

// What a server says about a failure is cut, wherever the library asks.
func TestBabblingFailure(t *testing.T) {
	s := babbling(t, "empty pages")
	err := s.Put(t.Context(), "a", []byte("a"))
	if err == nil || !strings.Contains(err.Error(), "no no no") || len(err.Error()) > 3*maxMessage {
		t.Errorf("%.5000v", err)
	}
}
