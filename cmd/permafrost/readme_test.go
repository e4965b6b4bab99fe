package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"permafrost/internal/keeper"
	"permafrost/internal/sandbox"
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

// A host that is new but for its instance is set up as the README says it, word for word but for the storage's address. The
// first restore follows, and cron runs its line in the two nights after that. All of it is in a mount namespace, where the host's
// own directories are the test's.
func TestREADMESetUp(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Fatal("the README is for root, and this test too")
	}
	s := newSite(t, sandbox.Config{})
	host := &setUp{t, t.TempDir()}
	// The program as the README installs it, with a clock that the test sets.
	host.write("/build/bin/permafrost", "#!/bin/sh\nexport "+runMain+"=1 "+clockVar+"=$(cat "+host.at("clock")+" 2>/dev/null)\nexec "+s.command().Path+" \"$@\"\n")
	host.write("/root/.ssh/config", fmt.Sprintf("Host storage.example\nHostName 127.0.0.1\nPort %d\n", s.SSHD.Port))
	readme, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(readme), "## Set it up\n")
	blocks := regexp.MustCompile("(?ms)^```\n(.*?)^```$").FindAllStringSubmatch(text, 3)
	if len(blocks) != 3 || !strings.Contains(blocks[0][1], "permafrost init") || !strings.Contains(blocks[1][1], "permafrost restore") ||
		!strings.Contains(blocks[2][1], "/etc/cron.d/permafrost") {
		t.Fatalf("the README's set-up is not where it was: %q", blocks)
	}
	address := regexp.MustCompile(`sftp:[\w-]+@storage\.example:/srv/mastodon`)
	if !address.MatchString(blocks[0][1]) {
		t.Fatalf("no address in\n%s", blocks[0][1])
	}
	setUp := address.ReplaceAllString(blocks[0][1], "sftp:"+s.SSHD.User+"@storage.example:"+s.SSHD.Root+"/readme")
	// What the comment behind ssh-keygen says is done by hand.
	setUp = strings.Replace(setUp, "mkdir -m 700", "cat ~/.ssh/id_ed25519.pub >> "+filepath.Join(s.Dir, "sshd", "authorized_keys")+"\nmkdir -m 700", 1)

	yesterday := "-24h"
	host.write("/clock", yesterday)
	host.inside(s, setUp)
	if out := host.inside(s, blocks[1][1]); !strings.Contains(out, "Become root") {
		t.Errorf("the first restore's RESTORE.md reads\n%s", out)
	}
	host.inside(s, blocks[2][1])
	// Debian's cron, which has no /usr/local/bin in its PATH.
	fields := strings.SplitN(strings.TrimSpace(host.read("/etc/cron.d/permafrost")), " ", 7)
	if len(fields) != 7 || fields[5] != "root" || strings.ContainsRune(fields[6], '%') { // which a crontab reads as a new line
		t.Fatalf("not a line of a crontab: %q", fields)
	}
	host.write("/line", fields[6])
	cron := `exec setsid -w env -i PATH=/usr/bin:/bin SHELL=/bin/sh HOME=/root LOGNAME=root /bin/sh -c "$(cat ` + host.at("line") + `)"`
	host.inside(s, cron) // the second one of yesterday: of a day the policy keeps the newest
	host.write("/clock", "0s")
	out := host.inside(s, cron)
	if out != "" {
		t.Errorf("cron would mail\n%s", out)
	}
	list := host.inside(s, "permafrost snapshots --json")
	if nights := decode[keeper.Snapshot](t, list, "snapshot"); runtime.GOARCH == "amd64" && (len(nights) != 2 || nights[0].Date == nights[1].Date) {
		t.Errorf("two nights later there are\n%s", list)
	}
}

// inside runs a script of root's on the host: /etc, /root, /home, /usr/local and where permafrost keeps what it remembers are the
// host's own. It returns what the script says.
func (s *setUp) inside(on *site, script string) string {
	s.t.Helper()
	prelude := `set -e
mount --make-rprivate /
test -d $T/etc || cp -a /etc $T/etc
mkdir -p $T/home/mastodon/live $T/usr/local/bin $T/root $T/lib $T/cache
mount --bind $LIVE $T/home/mastodon/live
mount --rbind $T/home /home
mount --bind $T/usr/local/bin /usr/local/bin
mount --bind $T/lib /var/lib
mount --bind $T/cache /var/cache
mount --bind $T/root /root
mount --bind $T/etc /etc
cd $T/build
export HOME=/root
`
	c := exec.Command("unshare", "--mount", "/bin/sh", "-c", prelude+script)
	c.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "T=" + s.root, "LIVE=" + on.Live, endAtOnce}
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	if err := c.Run(); err != nil {
		s.t.Fatalf("%v\n%s%s\n%s", err, out.String(), errs.String(), script)
	}
	if strings.Contains(script, "setsid") {
		return out.String() + errs.String()
	}
	return out.String()
}

// systemd takes the README's units.
func TestREADMEUnits(t *testing.T) {
	s := newSetUp(t)
	s.write("/usr/local/bin/permafrost", "#!/bin/sh\n")
	units := map[string][]string{
		"/etc/systemd/system/permafrost.service": {"[Service]", "Type=oneshot", "ExecStart=" + s.at("/usr/local/bin/permafrost") + " run"},
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
