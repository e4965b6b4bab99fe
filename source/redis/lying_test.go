package redis

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"permafrost/internal/hostile"
	"permafrost/source"
)

// lying is a server that answers as Redis does, but for one command.
func lying(t *testing.T, command string, say func(w io.Writer)) source.Redis {
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
				serve(c, command, say)
			}()
		}
	}()
	return source.Redis{Network: "tcp", Addr: l.Addr().String()}
}

func serve(c net.Conn, command string, say func(w io.Writer)) {
	in := bufio.NewReader(c)
	for {
		words, err := readWords(in)
		if err != nil {
			return
		}
		text := func(s string) { fmt.Fprintf(c, "$%d\r\n%s\r\n", len(s), s) }
		switch name := strings.ToUpper(words[0]); {
		case name == command:
			say(c)
		case name == "PING":
			io.WriteString(c, "+PONG\r\n")
		case name == "INFO":
			text("redis_version:7.0.15\r\nrole:master\r\ndb0:keys=1\r\n")
		case name == "CONFIG":
			fmt.Fprintf(c, "*2\r\n$%d\r\n%s\r\n$1\r\nx\r\n", len(words[2]), words[2])
		case name == "SSCAN":
			io.WriteString(c, "*2\r\n$1\r\n0\r\n*0\r\n")
		case name == "ZCARD", name == "LLEN":
			io.WriteString(c, ":1\r\n")
		default:
			io.WriteString(c, "-ERR unknown command\r\n")
		}
	}
}

// readWords reads a command.
func readWords(in *bufio.Reader) (words []string, err error) {
	var n, size int
	if _, err := fmt.Fscanf(in, "*%d\r\n", &n); err != nil {
		return nil, err
	}
	for range n {
		if _, err := fmt.Fscanf(in, "$%d\r\n", &size); err != nil {
			return nil, err
		}
		word := make([]byte, size+2)
		if _, err := io.ReadFull(in, word); err != nil {
			return nil, err
		}
		words = append(words, string(word[:size]))
	}
	return words, nil
}

// forever writes the same until nobody listens.
func forever(s string) func(io.Writer) {
	return func(w io.Writer) {
		for {
			if _, err := io.WriteString(w, strings.Repeat(s, 1000)); err != nil {
				return
			}
		}
	}
}

func once(s string) func(io.Writer) { return func(w io.Writer) { io.WriteString(w, s) } }

// A server that Mastodon's user has chosen can make nobody take memory or time without bound.
func TestLyingServer(t *testing.T) {
	if s, err := Connect(t.Context(), lying(t, "", nil), Options{}); err != nil || s.Facts().Dir != "x" {
		t.Fatalf("an honest one: %v", err)
	}
	for _, c := range []struct {
		name, command string
		say           func(io.Writer)
		fails         bool
	}{
		{"a huge text", "INFO", once("$2147483000\r\nx"), true},
		{"a text of no length", "INFO", once("$99999999999999999999\r\n"), true},
		{"a huge list", "CONFIG", once("*2147483000\r\n"), true},
		{"a huge map", "CONFIG", once("%1073741824\r\n"), true},
		{"lists in lists", "CONFIG", forever("*1\r\n"), true},
		{"pushes", "PING", forever(">2\r\n$1\r\nx\r\n$1\r\ny\r\n"), true},
		{"an endless line", "PING", forever("+xxxxxxxx"), true},
		{"an endless error", "INFO", forever("-ERR xxxx"), true},
		{"attributes", "PING", forever("|1\r\n+a\r\n+b\r\n"), true},
		{"a scan without end", "SSCAN", once("*2\r\n$1\r\n1\r\n*0\r\n"), false},
		{"queues without end", "SSCAN", once("*2\r\n$1\r\n1\r\n*1\r\n$4000\r\n" + strings.Repeat("q", 4000) + "\r\n"), false},
		{"databases without end", "INFO", once(info("db%d:keys=1")), false},
		{"a huge version", "INFO", once(info("redis_version:%0900000d")), false},
		{"a huge directory", "CONFIG", once("*2\r\n$3\r\ndir\r\n$900000\r\n" + strings.Repeat("d", 900_000) + "\r\n"), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			s, err := Connect(ctx, lying(t, c.command, c.say), Options{})
			runtime.ReadMemStats(&after)
			if ctx.Err() != nil || (err != nil) != c.fails {
				t.Errorf("error %.300v, want one: %v", err, c.fails)
			}
			if took := after.TotalAlloc - before.TotalAlloc; took > 400<<20 {
				t.Errorf("%d MiB", took>>20)
			}
			if err == nil {
				checkFacts(t, s.Facts())
				s.Close()
			}
		})
	}
}

// A server that is always about to send the RDB, or that sends a line without an end, drop by drop, is waited for no longer
// than an RDB may take.
func TestNeverBegins(t *testing.T) {
	for _, drop := range []string{"\n", "+"} {
		ours, theirs := net.Pipe()
		go io.Copy(io.Discard, theirs)
		go func() {
			for {
				if _, err := io.WriteString(theirs, drop); err != nil {
					return
				}
				time.Sleep(10 * time.Millisecond) // a drop a moment: it is never silent
			}
		}()
		l := &link{conn: ours, timeout: 10 * time.Second, begin: time.Now().Add(500 * time.Millisecond)}
		l.r = bufio.NewReader(l)
		begun := time.Now()
		_, err := l.sync("", "")
		if took := time.Since(begun); !errors.Is(err, errSlow) || took > 5*time.Second {
			t.Errorf("%q: %v after %v", drop, err, took)
		}
		ours.Close()
	}
}

// A server that took Redis over is named with its own version, beside that of the Redis that it stands in for.
func TestServerNames(t *testing.T) {
	for _, c := range []struct{ info, name, version, own, says string }{
		{"redis_version:7.0.15", "redis", "7.0.15", "", "Redis 7.0.15"},
		{"redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.1.1", "valkey", "7.2.4", "8.1.1", "Valkey 8.1.1"},
		{"redis_version:7.2.4\r\nvalkey_version:7.2.5", "valkey", "7.2.4", "7.2.5", "Valkey 7.2.5"},
		{"redis_version:7.2.4\r\nserver_name:other", "other", "7.2.4", "", "other"},
		{"role:master", "redis", "", "", "Redis"},
	} {
		conf := lying(t, "INFO", func(w io.Writer) { fmt.Fprintf(w, "$%d\r\n%s\r\n", len(c.info)+2, c.info+"\r\n") })
		f := connect(t, conf).Facts()
		if f.Name != c.name || f.Version != c.version || f.Own != c.own || f.Server() != c.says {
			t.Errorf("%q: %+v is called %s, want %+v", c.info, f, f.Server(), c)
		}
	}
}

// info returns an answer to INFO of as many such lines as it may have.
func info(format string) string {
	var b strings.Builder
	for i := 0; b.Len() < 800_000; i++ {
		fmt.Fprintf(&b, format+"\r\n", i)
	}
	return fmt.Sprintf("$%d\r\n%s\r\n", b.Len(), b.String())
}

func checkFacts(t *testing.T, f Facts) {
	t.Helper()
	if len(f.Keys) > maxDatabases || len(f.Dir) > maxText || len(f.Version) > maxText || len(f.Name) > maxText || len(f.Own) > maxText || f.Queues != nil && len(f.Queues.Queues) > maxQueues {
		t.Errorf("facts without bound: %d databases, directory of %d bytes", len(f.Keys), len(f.Dir))
	}
	if f.Queues == nil {
		return
	}
	for q := range f.Queues.Queues {
		if len(q) > maxText || strings.Contains(q, hostile.Mark) {
			t.Errorf("a queue's name of %d bytes", len(q))
		}
	}
}

// What passes in pieces of any size is followed alike.
func TestBoundedConn(t *testing.T) {
	const good = "+OK\r\n:1\r\n*2\r\n$3\r\na\r\n\r\n*0\r\n*3\r\n$-1\r\n*-1\r\n*1\r\n$0\r\n\r\n-ERR x\r\n"
	for size := 1; size <= len(good); size++ {
		c := &boundedConn{}
		for s := good; s != ""; s = s[min(size, len(s)):] {
			if err := c.follow([]byte(s[:min(size, len(s))])); err != nil {
				t.Fatalf("in pieces of %d: %v", size, err)
			}
		}
		if len(c.lists) > 0 || c.skip > 0 || len(c.line) > 0 {
			t.Errorf("in pieces of %d something is left: %+v", size, c)
		}
	}
}

func FuzzBoundedConn(f *testing.F) {
	f.Add([]byte("*2\r\n$3\r\nabc\r\n:1\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		whole, pieces := &boundedConn{}, &boundedConn{}
		err := whole.follow(b)
		var perr error
		for i := 0; i < len(b) && perr == nil; i++ {
			perr = pieces.follow(b[i : i+1])
		}
		if (err == nil) != (perr == nil) || len(whole.lists) > maxDepth {
			t.Errorf("%v, %v, %d lists", err, perr, len(whole.lists))
		}
	})
}
