package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"permafrost/internal/hostfs"
	"permafrost/source"
)

// tools are a pg_dump and its pg_restore.
type tools struct {
	dump    string // path
	restore string // path
	version string // as pg_dump tells it: 15.14 (Debian 15.14-0+deb12u1)
	major   int
	inside  bool // they are the container's own, and run in it
}

// toolDirs match the directories where distributions keep the programs of each version; PATH comes after.
var toolDirs = []string{"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/usr/lib64/postgresql*/bin", "/usr/local/pgsql/bin"}

// findTools finds the programs for a server of the given major version. A pg_dump refuses a newer server, so
// it must not be older: best of the same version, else of the next one there is. They are looked for in the directories that the patterns
// in installed match, and in PATH.
//
// What one user may change is not run as another, be that root or not.
func findTools(ctx context.Context, server int, o *Options, installed []string) (best tools, err error) {
	dirs, err := o.binDirs(installed)
	if err != nil {
		return best, err
	}
	var old tools
	var strange error
	for _, dir := range dirs {
		t, err := probe(ctx, dir, o.User)
		var se *strangeError
		switch {
		case ctx.Err() != nil:
			return best, ctx.Err()
		case errors.As(err, &se):
			strange = se
		case err != nil:
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
	if best.dump == "" && old.dump == "" && strange != nil {
		return best, source.Because(CauseStrangeTools, strange)
	}
	version := strconv.Itoa(server)
	if best.dump == "" && old.dump != "" {
		return best, source.Because(CauseNoTools, fmt.Errorf("no pg_dump for PostgreSQL %d: the newest here, %s, is version %s", server, old.dump, old.version), version)
	}
	if best.dump == "" && o.BinDir != "" {
		return best, source.Because(CauseNoToolsThere, fmt.Errorf("no pg_dump for PostgreSQL %d in %s", server, o.BinDir), version)
	}
	if best.dump == "" {
		return best, source.Because(CauseNoTools, fmt.Errorf("no pg_dump for PostgreSQL %d is installed", server), version)
	}
	if _, err := exec.LookPath(best.restore); err != nil {
		return best, source.Because(CauseNoTools, fmt.Errorf("no pg_restore beside %s: %w", best.dump, err), version)
	}
	return best, nil
}

var versionPattern = regexp.MustCompile(`\) ((\d+)\S*.*)`)

// binDirs returns where to look for the programs.
func (o *Options) binDirs(installed []string) (dirs []string, err error) {
	if o.BinDir != "" {
		dir, err := filepath.Abs(o.BinDir)
		return []string{dir}, err
	}
	for _, pattern := range installed {
		found, err := filepath.Glob(pattern)
		if err != nil {
			return nil, err
		}
		dirs = append(dirs, found...)
	}
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		if filepath.IsAbs(dir) {
			dirs = append(dirs, dir)
		}
	}
	return dirs, nil
}

// A strangeError says that a program is not run.
type strangeError struct{ path, reason string }

func (e *strangeError) Error() string { return e.path + " is not run: " + e.reason }

// checkTool makes sure that nobody but root and u could have put a program where it is.
func checkTool(path string, u *hostfs.User) error {
	p, err := hostfs.Resolve(path)
	if err != nil {
		return err
	}
	defer p.Close()
	if os.Geteuid() != 0 {
		return nil
	}
	uid := uint32(0)
	if u != nil {
		uid = u.UID
	}
	if why := p.Foreign(uid); why != "" {
		return &strangeError{path, why}
	}
	return nil
}

// probe asks the pg_dump in dir for its version.
func probe(ctx context.Context, dir string, u *hostfs.User) (t tools, err error) {
	t.dump, t.restore = filepath.Join(dir, "pg_dump"), filepath.Join(dir, "pg_restore")
	if err := checkTool(t.dump, u); err != nil {
		return t, err
	}
	if err := checkTool(t.restore, u); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return t, err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	t.version, t.major, err = version(exec.CommandContext(ctx, t.dump, "--version"), func(cmd *exec.Cmd) error {
		confine(cmd, u)
		return launch(cmd)
	})
	return t, err
}

// askVersion asks a program of the container's for its version.
func (s *Server) askVersion(cmd *exec.Cmd) (string, int, error) {
	return version(cmd, (*exec.Cmd).Start)
}

// version asks a program for its version, as it tells it, and for the first number of that.
func version(cmd *exec.Cmd, start func(*exec.Cmd) error) (text string, major int, err error) {
	out, said := lineWriter{w: io.Discard}, lineWriter{w: io.Discard}
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := start(cmd); err != nil {
		return "", 0, err
	}
	err = cmd.Wait()
	out.flush()
	said.flush()
	if err != nil {
		return "", 0, fmt.Errorf("%w%s", err, said.tail())
	}
	m := versionPattern.FindStringSubmatch(strings.Join(out.last, "\n"))
	if m == nil {
		return "", 0, fmt.Errorf("%s tells no version", cmd.Path)
	}
	major, err = strconv.Atoi(m[2])
	return m[1], major, err
}
