package redis

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"permafrost/source"
)

// unnamed makes files without names in dir, and returns the last one.
func unnamed(dir string, last **os.File) func() (*os.File, error) {
	return func() (*os.File, error) {
		f, err := os.CreateTemp(dir, "")
		if err == nil {
			err = os.Remove(f.Name())
		}
		*last = f
		return f, err
	}
}

// A reader that takes nothing for longer than Redis waits for a replica gets the whole data set all the same. Meanwhile nothing
// of it is to be read on the disk.
func TestSlowReader(t *testing.T) {
	for _, diskless := range []string{"yes", "no"} {
		t.Run("diskless="+diskless, func(t *testing.T) {
			t.Parallel() // it waits, mostly
			r, admin := start(t, "", with("--repl-diskless-sync", diskless, "--repl-diskless-sync-delay", "0", "--repl-timeout", "5")...)
			populate(t, admin, 40<<20)
			if err := admin.Set(t.Context(), "marked", strings.Repeat("a secret of many letters ", 1<<18), 0).Err(); err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			var file *os.File
			s, err := Connect(t.Context(), conf(r), Options{SpoolFile: unnamed(dir, &file)})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			s.client.AddHook(elsewhere)
			d, err := s.Dump(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			if d.Facts().Method != "replication" {
				t.Fatal(d.Facts().Method)
			}
			var got bytes.Buffer
			if _, err := io.CopyN(&got, d, 1<<20); err != nil {
				t.Fatal(err)
			}
			time.Sleep(12 * time.Second) // as an upload of a pack takes, over a slow line
			if names, err := os.ReadDir(dir); err != nil || len(names) != 0 {
				t.Errorf("%d files are to be seen: %v", len(names), err)
			}
			onDisk, err := io.ReadAll(io.NewSectionReader(file, 0, 1<<30))
			if err != nil || len(onDisk) < 20<<20 {
				t.Fatalf("%d bytes wait on the disk: %v", len(onDisk), err)
			}
			for _, plain := range []string{"secret", "VALUE", "value:", "REDIS"} {
				if bytes.Contains(onDisk, []byte(plain)) {
					t.Errorf("%q is to be read on the disk", plain)
				}
			}
			if _, err := io.Copy(&got, d); err != nil {
				t.Fatalf("after %d bytes: %v", got.Len(), err)
			}
			if err := CheckRDB(bytes.NewReader(got.Bytes())); err != nil || got.Len() < 40<<20 {
				t.Errorf("%d bytes: %v", got.Len(), err)
			}
		})
	}
}

// Without a spool that night fails: this is what the spool is for.
func TestSlowReaderWithoutSpool(t *testing.T) {
	t.Parallel() // it waits, mostly
	r, admin := start(t, "", with("--repl-diskless-sync-delay", "0", "--repl-timeout", "5")...)
	populate(t, admin, 40<<20)
	s := connect(t, conf(r))
	s.client.AddHook(elsewhere)
	d, err := s.Dump(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	time.Sleep(12 * time.Second)
	if _, err := io.Copy(io.Discard, d); err == nil || !strings.Contains(err.Error(), "lost") {
		t.Errorf("got %v", err)
	}
}

// More than may wait is an error that names the setting, and so is a full disk.
func TestSpoolLimit(t *testing.T) {
	r, admin := start(t, "", with("--repl-diskless-sync-delay", "0")...)
	populate(t, admin, 40<<20)
	full := func() (*os.File, error) { return os.OpenFile("/dev/full", os.O_RDWR, 0) }
	var file *os.File
	for _, c := range []struct {
		make  func() (*os.File, error)
		limit int64
		want  string
		cause source.Cause
	}{
		{unnamed(t.TempDir(), &file), 4 << 20, "more than 3 MiB would have to wait", CauseSpoolFull},
		{full, 1 << 30, "no space left", CauseSpoolDisk},
		{func() (*os.File, error) { return nil, errors.New("no directory") }, 1 << 30, "no directory", CauseSpoolDisk},
	} {
		s, err := Connect(t.Context(), conf(r), Options{SpoolFile: c.make, SpoolLimit: c.limit})
		if err != nil {
			t.Fatal(err)
		}
		s.client.AddHook(elsewhere)
		d, err := s.Dump(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		_, err = io.Copy(io.Discard, d)
		if err == nil || !strings.Contains(err.Error(), c.want) || source.CauseOf(err).Cause != c.cause {
			t.Errorf("got %v (%v), want %q", err, source.CauseOf(err), c.want)
		}
		d.Close()
		s.Close()
	}
	if info, err := file.Stat(); err == nil && info.Size() > 5<<20 {
		t.Errorf("%d bytes were on the disk", info.Size())
	}
}

// Without disk space for a spool nothing goes to the disk, and the source waits.
func TestNoSpool(t *testing.T) {
	data := make([]byte, 4<<20)
	rand.Read(data)
	s, err := newSpool(bytes.NewReader(data), func() (*os.File, error) { return nil, errors.New("a file is made") }, -1, func() {})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if got, err := io.ReadAll(slow(s)); err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes: %v", len(got), err)
	}
}

// jerky reads now fast and now slowly.
type jerky struct {
	r io.Reader
	n int
}

func (j *jerky) Read(p []byte) (int, error) {
	if j.n++; j.n%97 == 0 {
		time.Sleep(5 * time.Millisecond)
	}
	return j.r.Read(p)
}

// What goes through a spool comes out as it was, whoever is faster, and places in the file are used again.
func TestSpool(t *testing.T) {
	data := make([]byte, 24<<20+12345)
	rand.Read(data)
	for _, size := range []int{0, 1, spoolChunk - 1, spoolChunk, spoolChunk + 1, spoolMemory * spoolChunk, len(data)} {
		for name, sides := range map[string][2]func(io.Reader) io.Reader{
			"slow reader": {same, slow}, "slow source": {slow, same}, "both": {slow, slow},
		} {
			t.Run(fmt.Sprint(size, " ", name), func(t *testing.T) {
				var file *os.File
				s, err := newSpool(sides[0](bytes.NewReader(data[:size])), unnamed(t.TempDir(), &file), 32<<20, func() {})
				if err != nil {
					t.Fatal(err)
				}
				defer s.Close()
				got, err := io.ReadAll(sides[1](s))
				if err != nil || !bytes.Equal(got, data[:size]) {
					t.Errorf("%d bytes: %v", len(got), err)
				}
			})
		}
	}
	// A bit that changes on the disk is noticed.
	var file *os.File
	s, err := newSpool(bytes.NewReader(data), unnamed(t.TempDir(), &file), 32<<20, func() {})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	<-s.done
	if _, err := file.WriteAt([]byte{1}, 100*s.slot+1); err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, s); err == nil || n > 120*spoolChunk {
		t.Errorf("after %d bytes: %v", n, err)
	}
}

func same(r io.Reader) io.Reader { return r }
func slow(r io.Reader) io.Reader { return &jerky{r: r} }

// A dump that is given up, or whose context ends, leaves nothing behind.
func TestSpoolClosed(t *testing.T) {
	r, admin := start(t, "", with("--repl-diskless-sync-delay", "0")...)
	populate(t, admin, 40<<20)
	for _, end := range []string{"close", "cancel", "close without a file"} {
		dir := filepath.Join(t.TempDir())
		var file *os.File
		o := Options{SpoolFile: unnamed(dir, &file)}
		if end == "close without a file" {
			o.SpoolFile = nil
		}
		ctx, cancel := context.WithCancel(t.Context())
		s, err := Connect(ctx, conf(r), o)
		if err != nil {
			t.Fatal(err)
		}
		s.client.AddHook(elsewhere)
		d, err := s.Dump(ctx)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(300 * time.Millisecond)
		if end == "cancel" {
			cancel()
			if _, err := io.Copy(io.Discard, d); !errors.Is(err, context.Canceled) {
				t.Errorf("%s: %v", end, err)
			}
		}
		d.Close()
		cancel()
		s.Close()
		if o.SpoolFile == nil {
			continue
		}
		if file == nil {
			t.Fatalf("%s: nothing was on the disk", end)
		}
		if _, err := file.Stat(); !errors.Is(err, os.ErrClosed) {
			t.Errorf("%s: the file is still open: %v", end, err)
		}
	}
}
