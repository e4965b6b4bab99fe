package sshconn

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/kevinburke/ssh_config"

	"permafrost/internal/hostfs"
)

const (
	// maxSSHConfig bounds an ssh_config file, in bytes.
	maxSSHConfig = 1 << 20
	// maxIncludes bounds how many files one file may include, those that they include counted too.
	maxIncludes = 256
	// maxDepth is how deep files may include each other: the library goes no deeper.
	maxDepth = 5
)

// A configReader reads one ssh_config file and what it includes. The library gets copies in memory: which files are opened,
// and how, is decided here.
type configReader struct {
	config   *sshConfig
	copies   []*os.File
	includes int
}

// readFile adds what a file says. With check, it must be one that nobody else can write.
func (c *sshConfig) readFile(file string, check bool) error {
	r := &configReader{config: c}
	defer r.close()
	name, err := r.copy(file, check, 0)
	if err != nil {
		return err
	}
	settings := new(ssh_config.UserSettings)
	settings.ConfigFinder(func() string { return name })
	if _, err := settings.GetStrict("host", "Port"); err != nil && c.beyond == "" {
		c.beyond = err.Error()
	}
	c.settings = append(c.settings, settings)
	return nil
}

func (r *configReader) close() {
	for _, f := range r.copies {
		f.Close()
	}
}

// copy makes a copy of a file in memory, in which Include names copies too. It notes what the library does not know, or knows
// otherwise than ssh does: Match, but for Match all.
func (r *configReader) copy(file string, check bool, depth int) (name string, err error) {
	data, err := readConfigFile(file, check)
	if err != nil {
		return "", err
	}
	var out bytes.Buffer
	for line := range bytes.Lines(data) {
		words := strings.FieldsFunc(string(line), func(r rune) bool { return strings.ContainsRune(" \t=\"\r\n", r) })
		switch {
		case len(words) > 0 && strings.EqualFold(words[0], "include"):
			names, err := r.include(words[1:], file, depth)
			if err != nil {
				return "", err
			}
			if len(names) > 0 {
				out.WriteString("Include " + strings.Join(names, " "))
			}
			out.WriteByte('\n')
			continue
		case len(words) > 1 && strings.EqualFold(words[0], "match") && !strings.EqualFold(words[1], "all"):
			r.config.beyond = "Match " + words[1]
		}
		out.Write(line)
	}
	f, err := memoryFile(out.Bytes())
	if err != nil {
		return "", err
	}
	r.copies = append(r.copies, f)
	return f.Name(), nil
}

// include copies the files that an Include of a file names. As with ssh, they must be ones that nobody else can write.
func (r *configReader) include(patterns []string, from string, depth int) (names []string, err error) {
	if depth == maxDepth {
		r.config.beyond = "Include, nested deeply"
		return nil, nil
	}
	for _, pattern := range patterns {
		matches, _ := filepath.Glob(r.config.included(pattern, from))
		for _, m := range matches {
			if r.includes++; r.includes > maxIncludes {
				return nil, fmt.Errorf("%s: more than %d files are included", from, maxIncludes)
			}
			name, err := r.copy(m, true, depth+1)
			if err != nil {
				return nil, err
			}
			names = append(names, name)
		}
	}
	return names, nil
}

func (c *sshConfig) included(pattern, from string) string {
	switch {
	case strings.HasPrefix(pattern, "~/"):
		return filepath.Join(c.home, pattern[2:])
	case filepath.IsAbs(pattern):
		return pattern
	case strings.HasPrefix(from, "/etc/ssh/"):
		return filepath.Join("/etc/ssh", pattern)
	}
	return filepath.Join(c.home, ".ssh", pattern)
}

// readConfigFile reads an ssh_config file, which may name commands to run. With check, it must belong to this process's user
// or to root, and nobody else may write it, or put another one in its place: ssh asks that too.
func readConfigFile(file string, check bool) ([]byte, error) {
	p, err := resolve(file)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	st := p.Info.Sys().(*syscall.Stat_t)
	switch {
	case !check:
	case st.Uid != 0 && int(st.Uid) != os.Geteuid():
		return nil, because(CauseSettingsForeign, fmt.Errorf("%s belongs to another user", file), file, strconv.Itoa(os.Geteuid()))
	case p.Info.Mode().Perm()&0o022 != 0:
		return nil, because(CauseSettingsWritable, fmt.Errorf("%s can be written by other users", file), file)
	case !p.Trust.Only(uint32(os.Geteuid())):
		return nil, because(CauseSettingsReplaceable, fmt.Errorf("%s: other users could have put it there: %s", file, p.Trust.Reason()), file)
	}
	data, _, err := p.ReadFile(maxSSHConfig)
	return data, err
}

// resolve finds a file by a path that may begin at the working directory.
func resolve(file string) (*hostfs.Place, error) {
	file, err := filepath.Abs(file)
	if err != nil {
		return nil, err
	}
	p, err := hostfs.Resolve(file)
	if errors.Is(err, syscall.ENOTDIR) {
		err = fmt.Errorf("%w (%w)", fs.ErrNotExist, err)
	}
	return p, err
}

// readFile reads a regular file of at most limit bytes, and tells what it is like.
func readFile(file string, limit int64) ([]byte, fs.FileInfo, error) {
	p, err := resolve(file)
	if err != nil {
		return nil, nil, err
	}
	defer p.Close()
	return p.ReadFile(limit)
}
