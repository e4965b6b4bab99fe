package main

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"permafrost/internal/sandbox"
)

// hostTable is where the table goes, and asks for the functions too: strace walks the stack of every call then, which takes twenty
// times as long.
var hostTable = flag.String("hosttable", "", "write the table of TestHostCalls, with the function of each call, to this file")

// tracedCalls are those by which a program can be led somewhere by a path, or that change what a descriptor stands for.
const tracedCalls = "%file,fchown,fchmod,fsetxattr,fremovexattr,flistxattr,fgetxattr,utimensat,connect,bind,setresuid,setuid,setreuid"

// While a night and a restore run as root, every call on a path that Mastodon's user may influence is traced. It is made with
// that user's rights; or it names one file in a directory that is open, or several below one, and follows no link.
func TestHostCalls(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Fatal("this test is about what root does: run it as root")
	}
	s := newSite(t, sandbox.Config{Peer: true})
	s.init()
	target, disk := filepath.Join(filepath.Dir(s.Live), "restored"), filepath.Join(filepath.Dir(s.Live), "disk")
	uid, gid := owner(t, s.Live)
	version := filepath.Join(s.Live, "lib/mastodon/version.rb")
	for _, err := range []error{os.Mkdir(target, 0o755), os.MkdirAll(filepath.Join(disk, "imports/a"), 0o755), os.MkdirAll(filepath.Dir(version), 0o755),
		os.WriteFile(version, []byte("def major\n4\nend\ndef minor\n3\nend\ndef patch\n1\nend\n"), 0o644),
		os.WriteFile(filepath.Join(disk, "imports/a/file"), []byte("x"), 0o644), os.WriteFile(filepath.Join(disk, "one"), []byte("y"), 0o644),
		os.Symlink(filepath.Join(disk, "imports"), filepath.Join(s.System(), "imports")), os.Symlink(filepath.Join(disk, "one"), filepath.Join(s.System(), "one"))} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{target, disk, filepath.Join(disk, "one"), filepath.Join(disk, "imports"), filepath.Join(disk, "imports/a"), filepath.Join(disk, "imports/a/file")} {
		if err := os.Chown(path, uid, gid); err != nil {
			t.Fatal(err)
		}
	}
	account, err := user.Lookup(s.Postgres.OSUser)
	if err != nil {
		t.Fatal(err)
	}
	places := map[string]string{
		s.Live: "LIVE", filepath.Join(s.Live, "public", "system"): "MEDIA", target: "TARGET", disk: "DISK",
		account.HomeDir: "HOME", s.Postgres.SocketDir: "SOCKETS", elsewhere: "?",
	}
	calls := make(map[hostCall]int)
	s.trace(calls, places, "snapshot", "--date", "2026-06-26", "--follow", disk)
	s.trace(calls, places, "snapshot", "--date", "2026-06-27", "--follow", disk)
	s.trace(calls, places, "restore", "-i", s.recovery, "--target", target, "--date", "2026-06-27")
	s.trace(calls, places, "restore", "-i", s.recovery, "--target", target, "--date", "2026-06-26", "--delete", "--overwrite", "always")
	for _, name := range []string{"imports/a/file", "one"} {
		if _, err := os.Stat(filepath.Join(target, "public-system", name)); err != nil {
			t.Error(err)
		}
	}
	if len(calls) < 20 {
		t.Fatalf("strace saw only %d kinds of calls", len(calls))
	}
	var table strings.Builder
	fmt.Fprintln(&table, "| by | call | on | how | where |\n|---|---|---|---|---|")
	for _, c := range slices.SortedFunc(maps.Keys(calls), hostCall.compare) {
		fmt.Fprintf(&table, "| %s | %s | %s | %s | %s |\n", c.by, c.name, c.on, c.how, c.where)
		if c.by == "root" && c.follows {
			t.Errorf("root follows a path of Mastodon's user: %s of %s, %s; where: %s (-hosttable FILE tells)", c.name, c.on, c.how, c.where)
		}
	}
	if *hostTable != "" {
		if err := os.WriteFile(*hostTable, []byte(table.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func owner(t *testing.T, path string) (uid, gid int) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	st := info.Sys().(*syscall.Stat_t)
	return int(st.Uid), int(st.Gid)
}

// A hostCall is a kind of system call on a place of Mastodon's user.
type hostCall struct {
	by      string // root or user
	name    string
	on      string // the place
	how     string // the kind of path, and flags that matter
	where   string // the function that makes it
	follows bool   // a link, if somebody puts one there
}

func (c hostCall) compare(d hostCall) int {
	return strings.Compare(fmt.Sprint(c.on, c.where, c.name, c.by, c.how), fmt.Sprint(d.on, d.where, d.name, d.by, d.how))
}

// trace runs a command under strace, and adds its calls on the places.
func (s *site) trace(calls map[hostCall]int, places map[string]string, args ...string) {
	s.t.Helper()
	out := filepath.Join(s.t.TempDir(), "trace")
	c := s.command(args...)
	strace, err := exec.LookPath("strace")
	if err != nil {
		s.t.Fatal(err)
	}
	// Without --seccomp-bpf every call of the process stops at strace, not these alone.
	options := []string{"strace", "-ff", "--seccomp-bpf", "-y", "-s", "4096", "-o", out, "-e", "trace=" + tracedCalls, "-e", "signal=none"}
	if *hostTable != "" {
		options = append(options, "-k")
	}
	c.Args = append(append(options, c.Path), c.Args[1:]...)
	c.Path = strace
	if r := c.run(s.t); r.code != exitDone && (args[0] != "snapshot" || r.code != exitDated) {
		s.t.Fatalf("%v under strace: exit code %d\n%s%s", args, r.code, r.stdout, r.stderr)
	}
	ours := ownText(s.t)
	files, err := filepath.Glob(out + ".*")
	if err != nil || len(files) == 0 {
		s.t.Fatalf("strace wrote %d files: %v", len(files), err)
	}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			s.t.Fatal(err)
		}
		readTrace(data, ours, places, func(c hostCall) { calls[c]++ })
	}
}

var (
	callLine  = regexp.MustCompile(`^(\w+)\((.*)\) += (?:\d+<([^>]*)>)?`)
	stackLine = regexp.MustCompile(`^ > (.*?)\(.*\) \[(0x[0-9a-f]+)\]$`) // a file, and an offset in it
	becomes   = regexp.MustCompile(`^(?:setresuid\(-1, (\d+), -1|setuid\((\d+)|setreuid\(-1, (\d+))\) += 0`)
)

// readTrace reads the calls of one thread. What a program does that is run by permafrost is its own matter.
func readTrace(data []byte, text text, places map[string]string, add func(hostCall)) {
	by, program := "root", false
	var call hostCall
	flush := func() {
		if call.name != "" && (call.where != "" || *hostTable == "") {
			add(call)
		}
		call = hostCall{}
	}
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		if m := stackLine.FindStringSubmatch(line); m != nil {
			call.where = extendStack(call.where, text.function(m[1], m[2]))
			continue
		}
		flush()
		if m := becomes.FindStringSubmatch(line); m != nil {
			by = "user"
			if m[1]+m[2]+m[3] == "0" {
				by = "root"
			}
			continue
		}
		if m := callLine.FindStringSubmatch(line); m != nil && !program {
			call = parseCall(m[1], m[2], m[3], places)
			call.by = by
			// The program itself begins with an execve too.
			program = m[1] == "execve" && strings.Contains(line, ") = 0") && !strings.Contains(m[2], ".test\"")
		}
	}
	flush()
}

// A text is the code of this program: strace knows of a stack the offsets in the file alone, and this process runs the same.
type text struct {
	file          string
	start, offset uintptr // where it lies in memory, and in the file
}

func ownText(t *testing.T) text {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^([0-9a-f]+)-[0-9a-f]+ r-xp ([0-9a-f]+) \S+ \d+ +` + regexp.QuoteMeta(self) + `$`).FindStringSubmatch(string(maps))
	if m == nil {
		t.Fatalf("the code of %s is not among the mappings:\n%s", self, maps)
	}
	return text{self, parseHex(m[1]), parseHex(m[2])}
}

func parseHex(s string) uintptr {
	n, _ := strconv.ParseUint(strings.TrimPrefix(s, "0x"), 16, 64)
	return uintptr(n)
}

// function returns the name of the function at an offset; "" of another file.
func (x text) function(file, offset string) string {
	if file != x.file {
		return ""
	}
	frame, _ := runtime.CallersFrames([]uintptr{parseHex(offset) - x.offset + x.start}).Next()
	return frame.Function
}

// extendStack adds a frame to the innermost two of this project's own.
func extendStack(where, frame string) string {
	if !strings.HasPrefix(frame, "permafrost/") && !strings.HasPrefix(frame, "main.") || strings.Count(where, " < ") == 1 {
		return where
	}
	frame = strings.TrimPrefix(frame, "permafrost/")
	if where == "" {
		return frame
	}
	return where + " < " + frame
}

var argument = regexp.MustCompile(`"((?:[^"\\]|\\.)*)"|(\w+)<([^>]*)>`)

// parseCall reads a call's arguments as strace -y writes them, and what it has opened. Its name is empty where it touches none of
// the places.
func parseCall(name, args, opened string, places map[string]string) hostCall {
	c := hostCall{name: name}
	dir, path, named := "", "", false
	for _, m := range argument.FindAllStringSubmatch(args, -1) {
		if m[3] != "" && !named {
			dir = m[3]
		} else if m[3] == "" && !named {
			if unquoted, err := strconv.Unquote(`"` + m[1] + `"`); err == nil {
				path, named = unquoted, true
			}
		}
	}
	full := path
	switch {
	case strings.HasPrefix(path, ownDescriptors):
		if full = opened; full == "" { // strace does not say of what a descriptor in a path is one
			full = elsewhere
		}
	case !filepath.IsAbs(path):
		full = filepath.Join(dir, path)
	}
	place := ""
	for root := range places {
		if (full == root || strings.HasPrefix(full, root+"/")) && len(root) > len(place) {
			place = root
		}
	}
	if place == "" {
		return hostCall{}
	}
	c.on = places[place]
	c.how, c.follows = pathKind(name, args, path, named)
	return c
}

const (
	ownDescriptors = "/proc/self/fd/"
	elsewhere      = "/a place that strace does not tell"
)

// neverFollow act on a name itself, whatever it is.
var neverFollow = []string{"mkdirat", "unlinkat", "renameat", "renameat2", "linkat", "symlinkat", "mknodat", "readlinkat", "unlink", "rename", "mkdir", "rmdir", "lstat", "readlink",
	"lchown", "symlink", "link", "llistxattr", "lgetxattr", "lsetxattr", "lremovexattr"}

// pathKind says what kind of path a call has, and whether a link could lead it elsewhere.
func pathKind(name, args, path string, named bool) (how string, follows bool) {
	var flags []string
	for _, f := range []string{"O_PATH", "O_NOFOLLOW", "O_CREAT", "O_EXCL", "O_DIRECTORY", "AT_SYMLINK_NOFOLLOW", "AT_EMPTY_PATH", "RESOLVE_NO_SYMLINKS", "RESOLVE_BENEATH"} {
		if strings.Contains(args, f) {
			flags = append(flags, f)
		}
	}
	quiet := slices.Contains(neverFollow, name) || strings.Contains(args, "NOFOLLOW") || strings.Contains(args, "O_CREAT|O_EXCL")
	switch {
	case !named || path == "" || strings.HasPrefix(name, "f") && !strings.HasSuffix(name, "at"):
		how = "descriptor"
	case strings.Contains(args, "RESOLVE_NO_SYMLINKS"):
		how = "below a descriptor"
	case strings.HasPrefix(path, ownDescriptors):
		_, name, _ := strings.Cut(strings.TrimPrefix(path, ownDescriptors), "/")
		if name == "" {
			how = "descriptor"
		} else {
			how, follows = "name in a descriptor", !quiet || strings.Contains(name, "/")
		}
	case filepath.IsAbs(path):
		how, follows = "path", true
	case !strings.Contains(path, "/"):
		how, follows = "name in a descriptor", !quiet
	default:
		how, follows = "path below a descriptor", true
	}
	return strings.Join(append([]string{how}, flags...), " "), follows
}
