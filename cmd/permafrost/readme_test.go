package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// A setUp is what the README's set-up leaves on a host, below a directory of the test's in place of /.
type setUp struct {
	t    *testing.T
	root string
}

// newSetUp writes the files of the README, each `cat > FILE <<'END'`, and the line for cron.
func newSetUp(t *testing.T) *setUp {
	t.Helper()
	s := &setUp{t, t.TempDir()}
	text, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?ms)^cat > (/\S+) <<'END'\n(.*?)^END$`).FindAllStringSubmatch(string(text), -1) {
		s.write(m[1], m[2])
	}
	for _, m := range regexp.MustCompile(`(?m)^echo '(.*)' > (/etc/cron\.d/\S+)$`).FindAllStringSubmatch(string(text), -1) {
		s.write(m[2], m[1]+"\n")
	}
	return s
}

func (s *setUp) at(path string) string { return filepath.Join(s.root, path) }

// write writes a file of the host, in which the host's own paths are the test's.
func (s *setUp) write(path, text string) {
	s.t.Helper()
	mode := os.FileMode(0o644)
	if strings.HasPrefix(text, "#!") {
		mode = 0o755
	}
	text = strings.ReplaceAll(text, "/usr/local/", s.at("usr/local")+"/")
	err := os.MkdirAll(filepath.Dir(s.at(path)), 0o755)
	if err == nil {
		err = os.WriteFile(s.at(path), []byte(text), mode)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *setUp) read(path string) string {
	s.t.Helper()
	text, err := os.ReadFile(s.at(path))
	if err != nil {
		s.t.Fatal(err)
	}
	return string(text)
}

// cron runs the README's line as cron does: by sh, with next to nothing in its environment, and no terminal. It returns the
// exit code.
func (s *setUp) cron() int {
	s.t.Helper()
	fields := strings.SplitN(strings.TrimSpace(s.read("/etc/cron.d/permafrost")), " ", 7)
	if len(fields) != 7 || fields[5] != "root" || strings.ContainsRune(fields[6], '%') { // which a crontab reads as a new line
		s.t.Fatalf("not a line of a crontab: %q", fields)
	}
	c := exec.Command("setsid", "-w", "/bin/sh", "-c", fields[6])
	c.Env = []string{"PATH=/usr/bin:/bin", "SHELL=/bin/sh", "HOME=/root", "LOGNAME=root"}
	out, err := c.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		s.t.Fatalf("%v: %s", err, out)
	}
	return c.ProcessState.ExitCode()
}

// The policy follows a snapshot that was kept and no other, and does not hide its exit code.
func TestREADMECron(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ snapshot, forget, want int }{
		{0, 0, 0}, {0, 1, 1}, {0, 13, 13}, {3, 0, 3}, {3, 1, 3}, {4, 0, 4}, {4, 1, 4}, {5, 0, 5}, {9, 0, 9}, {1, 0, 1}, {11, 0, 11}, {130, 0, 130},
	} {
		t.Run(fmt.Sprint(tt.snapshot, tt.forget), func(t *testing.T) {
			s := newSetUp(t)
			s.write("/usr/local/bin/permafrost", fmt.Sprintf("#!/bin/sh\necho \"$@\" >> %s\n[ $1 = snapshot ] && exit %d\nexit %d\n",
				s.at("ran"), tt.snapshot, tt.forget))
			if code := s.cron(); code != tt.want {
				t.Errorf("exit code %d, want %d", code, tt.want)
			}
			kept := tt.snapshot == exitDone || tt.snapshot == exitPartial || tt.snapshot == exitSuspect || tt.snapshot == 5 || tt.snapshot == exitUnreported
			want := "snapshot -q\n"
			if kept {
				want += "forget --prune -q\n"
			}
			if got := s.read("ran"); got != want {
				t.Errorf("it ran\n%s", got)
			}
		})
	}
}

// The README's line makes a snapshot and applies the policy, with the program itself.
func (s *site) testREADMECron(t *testing.T) {
	s = s.on(t)
	c := s.command()
	script := "#!/bin/sh\ncd " + c.Dir + "\n"
	for _, e := range c.Env {
		name, value, _ := strings.Cut(e, "=")
		if name != "PATH" {
			script += "export " + name + "=" + strconv.Quote(value) + "\n"
		}
	}
	host := newSetUp(t)
	host.write("/usr/local/bin/permafrost", script+"exec "+c.Path+" \"$@\"\n")
	for range 2 {
		if code := host.cron(); code != exitDone {
			t.Errorf("exit code %d", code)
		}
	}
	if n := len(s.snapshots(t)); n != 1 {
		t.Errorf("%d snapshots are left, and the policy keeps one", n)
	}
}

// systemd takes the README's units.
func TestREADMEUnits(t *testing.T) {
	s := newSetUp(t)
	s.write("/usr/local/bin/permafrost", "#!/bin/sh\n")
	units := map[string][]string{
		"/etc/systemd/system/permafrost.service": {"[Service]", "Type=oneshot", "ExecStart=" + s.at("/usr/local/sbin/permafrost-night")},
		"/etc/systemd/system/permafrost.timer":   {"[Timer]", "OnCalendar=*-*-* 03:30", "Persistent=true", "[Install]", "WantedBy=timers.target"},
	}
	for unit, lines := range units {
		text := s.read(unit)
		for _, l := range lines {
			if !strings.Contains("\n"+text, "\n"+l+"\n") {
				t.Errorf("%s lacks %q:\n%s", unit, l, text)
			}
		}
		analyze, err := exec.LookPath("systemd-analyze")
		if err != nil {
			continue // a host without systemd takes no units
		}
		if out, err := exec.Command(analyze, "verify", "--man=no", s.at(unit)).CombinedOutput(); err != nil || strings.Contains(string(out), "permafrost") {
			t.Errorf("%s: %v\n%s", unit, err, out)
		}
	}
}
