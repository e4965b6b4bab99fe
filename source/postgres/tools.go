package postgres

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"time"

	"permafrost/internal/hint"
)

// tools are a pg_dump and its pg_restore.
type tools struct {
	dump    string // path
	restore string // path
	version string // as pg_dump tells it: 15.14 (Debian 15.14-0+deb12u1)
	major   int
}

// toolDirs match the directories where distributions keep the programs of each version; PATH comes after.
var toolDirs = []string{"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/usr/lib64/postgresql*/bin", "/usr/local/pgsql/bin"}

// findTools finds the programs for a server of the given major version. A pg_dump refuses a newer server, so
// it must not be older: best of the same version, else of the next one there is.
func findTools(ctx context.Context, server int, o Options) (best tools, err error) {
	dirs := []string{o.BinDir}
	if o.BinDir == "" {
		dirs = nil
		for _, pattern := range toolDirs {
			found, err := filepath.Glob(pattern)
			if err != nil {
				return best, err
			}
			dirs = append(dirs, found...)
		}
		dirs = append(dirs, filepath.SplitList(os.Getenv("PATH"))...)
	}
	var old tools
	for _, dir := range dirs {
		t, err := probe(ctx, dir)
		switch {
		case err != nil:
			if ctx.Err() != nil {
				return best, ctx.Err()
			}
		case t.major < server:
			if t.major > old.major {
				old = t
			}
		case best.dump == "" || t.major < best.major:
			best = t
		}
		if best.major == server {
			break
		}
	}
	install := fmt.Sprintf("install it: apt-get install postgresql-client-%d", server)
	if best.dump == "" && old.dump != "" {
		return best, hint.Wrap(fmt.Errorf("no pg_dump for PostgreSQL %d: the newest here, %s, is version %s", server, old.dump, old.version), install)
	}
	if best.dump == "" {
		return best, hint.Wrap(fmt.Errorf("no pg_dump for PostgreSQL %d is installed", server), install)
	}
	if _, err := exec.LookPath(best.restore); err != nil && o.Verify != VerifyNone {
		return best, hint.Wrap(fmt.Errorf("no pg_restore beside %s: %w", best.dump, err), install)
	}
	return best, nil
}

var versionPattern = regexp.MustCompile(`\) ((\d+)\S*.*)`)

// probe asks the pg_dump in dir for its version.
func probe(ctx context.Context, dir string) (t tools, err error) {
	t.dump, t.restore = filepath.Join(dir, "pg_dump"), filepath.Join(dir, "pg_restore")
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, t.dump, "--version")
	cmd.Env = plainEnv()
	out, err := cmd.Output()
	if err != nil {
		return t, err
	}
	m := versionPattern.FindSubmatch(out)
	if m == nil {
		return t, fmt.Errorf("%s tells no version", t.dump)
	}
	t.version = string(m[1])
	t.major, err = strconv.Atoi(string(m[2]))
	return t, err
}
