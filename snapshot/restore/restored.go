package restore

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"time"

	"permafrost/internal/escape"
	"permafrost/internal/hostfs"
	"permafrost/repo/ledger"
	"permafrost/snapshot"
	"permafrost/snapshot/restore/internal/sums"
)

// The names of what Restore writes.
const (
	envName     = "env.production"
	mediaDir    = "public-system"
	sumsName    = "SHA256SUMS"
	secretsDir  = "secrets"
	redisName   = "redis-dump.rdb"
	sidekiqName = "sidekiq-redis-dump.rdb"
)

// A Restored is what Restore has written, for whoever tells how to go on from there.
type Restored struct {
	Ref        ledger.SnapshotRef
	Manifest   *snapshot.Manifest
	Target     string          // the directory: absolute
	Begun      time.Time       // when the first restore of this snapshot into Target began
	Components map[string]bool // those that are there, as far as the snapshot has them
	Result     *Result

	// Open opens a restored file for reading, by its name below Target.
	Open func(name string) (io.ReadCloser, error)
}

// A TextFile is a file that lies beside what was restored. Its name is a path below the target.
type TextFile struct {
	Name   string
	Data   []byte
	Edited bool // somebody may change it: an earlier one with other content is kept beside it
}

// secretName returns where file number i of the secrets is restored to.
func secretName(m *snapshot.Manifest, i int) string {
	if i == 0 {
		return envName
	}
	return secretsDir + string(m.Secrets.Files[i].Path)
}

// redisFile returns where the data of a Redis are restored to; name is redis or sidekiq.
func redisFile(name string) string {
	if name == "sidekiq" {
		return sidekiqName
	}
	return redisName
}

// dumpFile returns where the database's dump is restored to: the database's own name, as far as it makes a file name.
func dumpFile(m *snapshot.Manifest) string {
	name := strings.Map(func(r rune) rune {
		if r == '/' || !escape.Visible(string(r)) {
			return '_'
		}
		return r
	}, m.Postgres.Database)
	if name == "" || name[0] == '.' || len(name) > 200 {
		name = "database"
	}
	return name + ".dump"
}

// texts writes what lies beside the components: SHA256SUMS, and how to go on. It returns what went wrong.
func (rs *restorer) texts(there map[string]bool) (errs []error) {
	files := []TextFile{{Name: sumsName, Data: rs.dir.sums(rs.m, there)}}
	if rs.Texts != nil {
		target, err := absolute(rs.Target)
		if err != nil {
			return []error{err}
		}
		more, err := rs.Texts(&Restored{Ref: rs.ref, Manifest: rs.m, Target: target, Begun: rs.state.Begun, Components: there, Result: &rs.out, Open: rs.dir.open})
		if err != nil {
			errs = append(errs, err)
		}
		files = append(files, more...)
	}
	for _, f := range files {
		if f.Edited {
			rs.keepEdited(&f)
		}
		if err := rs.dir.put(f.Name, f.Data); err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

// keepEdited puts a text aside that is there and that somebody has changed.
func (rs *restorer) keepEdited(f *TextFile) {
	aside := path.Base(f.Name) + ".before"
	err := rs.dir.in(f.Name, func(dir *hostfs.Dir, base string) error {
		was, err := dir.ReadFile(base, maxText)
		if err != nil || bytes.Equal(was, f.Data) {
			return err
		}
		if err := dir.Rename(base, aside); err != nil {
			return err
		}
		rs.Warn(fmt.Errorf("%s was there with other values, and is kept as %s", f.Name, aside))
		return nil
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		rs.Warn(fmt.Errorf("%s, which was there, is not kept: %w", f.Name, err))
	}
}

// maxText bounds a text that is there already, in bytes.
const maxText = 16 << 20

// VerifySums reads the files that SHA256SUMS of a restored directory lists, as sha256sum -c does and several times as fast. It returns
// an error for each that is missing or has other content. Where only media were restored none is listed.
func VerifySums(dir string) error { return sums.Verify(dir, sumsName) }
