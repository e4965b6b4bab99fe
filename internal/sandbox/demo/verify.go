package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"permafrost/internal/sandbox"
	"permafrost/internal/sandbox/compare"
)

// night is what the instance held when a snapshot was made.
type night struct {
	env      []byte
	media    compare.State
	database compare.State
	redis    compare.State
}

// remember describes the instance as it is now.
func (d *demo) remember() (n night, err error) {
	if n.env, err = os.ReadFile(filepath.Join(d.instance.Live, ".env.production")); err != nil {
		return n, err
	}
	if n.media, err = compare.Tree(d.instance.System()); err != nil {
		return n, err
	}
	if n.database, err = compare.Database(d.ctx, d.instance.Postgres, sandbox.Database); err != nil {
		return n, err
	}
	n.redis, err = compare.Redis(d.ctx, d.instance.Redis)
	return n, err
}

func (n night) String() string {
	files, tables := 0, 0
	for _, description := range n.media {
		if strings.HasPrefix(description, "-") {
			files++
		}
	}
	for name := range n.database {
		if strings.HasPrefix(name, "table ") {
			tables++
		}
	}
	return fmt.Sprintf("It holds %d tables, %d media files and %d keys in Redis.", tables, files, len(n.redis))
}

// compare compares what was restored, and what is back in the servers, with what was there.
func (d *demo) compare(want night, target string) error {
	for _, part := range []struct {
		name  string
		check func() error
	}{
		{".env.production: every byte, mode 0600", func() error { return compareEnv(want.env, filepath.Join(d.instance.Live, ".env.production")) }},
		{"PostgreSQL: every row, index, key and sequence", func() error {
			got, err := compare.Database(d.ctx, d.instance.Postgres, sandbox.Database)
			if err != nil {
				return err
			}
			return want.database.Diff(got)
		}},
		{"Redis: every key", func() error {
			got, err := compare.Redis(d.ctx, d.instance.Redis)
			if err != nil {
				return err
			}
			return want.redis.Diff(got)
		}},
		{"media: every file's content, mode, owner, time and links", func() error {
			got, err := compare.Tree(filepath.Join(target, "public-system"))
			if err != nil {
				return err
			}
			return want.media.Diff(got)
		}},
	} {
		if err := part.check(); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
		fmt.Println("same  " + part.name)
	}
	return nil
}

func compareEnv(want []byte, path string) error {
	got, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	fi, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("%s differs", path)
	}
	if fi.Mode() != 0o600 {
		return fmt.Errorf("%s has mode %v", path, fi.Mode())
	}
	return nil
}

// searchStorage looks through all that the storage holds, names and bytes, for
// strings that stand readable in the instance.
func (d *demo) searchStorage() error {
	m := sandbox.Markers
	var objects, size int64
	err := filepath.WalkDir(d.instance.SSHD.Root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		objects, size = objects+1, size+int64(len(data))
		for _, text := range []string{m.Status, m.Account, m.Secret, m.Job, m.FileName, m.FileContent} {
			if bytes.Contains(data, []byte(text)) || strings.Contains(path, text) {
				return fmt.Errorf("%s: %q can be read on the storage", path, text)
			}
		}
		return nil
	})
	if err == nil {
		say("The storage holds %d objects, %.1f MB, and nothing readable in them.", objects, float64(size)/1e6)
	}
	return err
}
