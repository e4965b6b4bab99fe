package source

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// his is the number of Mastodon's user in these tests, who has no name; another's is that of somebody else.
const his, anothers = 54321, 54322

// place makes a directory, or a file with settings, for a user.
func place(t *testing.T, path string, uid int, mode fs.FileMode) string {
	t.Helper()
	err := os.MkdirAll(path, mode)
	if filepath.Base(path) == settingsName {
		os.Remove(path)
		err = os.WriteFile(path, []byte("LOCAL_DOMAIN=a.example\n"), mode)
	}
	for _, err := range []error{err, os.Chmod(path, mode), os.Chown(path, uid, uid)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return path
}

func symlink(t *testing.T, target, path string, uid int) {
	t.Helper()
	for _, err := range []error{os.Symlink(target, path), os.Lchown(path, uid, uid)} {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// Root acts as the owner of the live directory, as the user who is named, or as itself where nobody else has a say.
func TestLoadAsUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Fatal("this test gives files away: it wants root")
	}
	for _, c := range []struct {
		name   string
		make   func(t *testing.T, dir string) (live string)
		osUser string
		as     uint32 // 0: as root
		fails  string
	}{
		{name: "his", as: his, make: func(t *testing.T, dir string) string {
			place(t, filepath.Join(dir, settingsName), his, 0o600)
			return place(t, dir, his, 0o755)
		}},
		{name: "settings of root's", as: his, make: func(t *testing.T, dir string) string {
			place(t, filepath.Join(dir, settingsName), 0, 0o644)
			return place(t, dir, his, 0o755)
		}},
		{name: "settings that only root reads", fails: "permission denied", make: func(t *testing.T, dir string) string {
			place(t, filepath.Join(dir, settingsName), 0, 0o600)
			return place(t, dir, his, 0o755)
		}},
		{name: "settings that lead to root's", fails: "permission denied", make: func(t *testing.T, dir string) string {
			place(t, filepath.Join(dir, "root"), 0, 0o755)
			symlink(t, place(t, filepath.Join(dir, "root", settingsName), 0, 0o600), filepath.Join(dir, settingsName), his)
			return place(t, dir, his, 0o755)
		}},
		{name: "settings of a deployment", as: his, make: func(t *testing.T, dir string) string {
			place(t, filepath.Join(dir, "shared"), his, 0o755)
			place(t, filepath.Join(dir, "shared", settingsName), his, 0o600)
			live := place(t, filepath.Join(dir, "release"), his, 0o755)
			symlink(t, "../shared/"+settingsName, filepath.Join(live, settingsName), his)
			symlink(t, "release", filepath.Join(dir, "current"), his)
			place(t, dir, his, 0o755)
			return filepath.Join(dir, "current")
		}},
		{name: "settings of another's", fails: "neither root nor the owner", make: func(t *testing.T, dir string) string {
			place(t, filepath.Join(dir, settingsName), anothers, 0o644)
			return place(t, dir, his, 0o755)
		}},
		{name: "settings that everybody writes", fails: "may write", make: func(t *testing.T, dir string) string {
			place(t, filepath.Join(dir, settingsName), his, 0o666)
			return place(t, dir, his, 0o755)
		}},
		{name: "root's", make: func(t *testing.T, dir string) string {
			place(t, filepath.Join(dir, settingsName), 0, 0o600)
			return dir
		}},
		{name: "root's with settings of his", fails: "neither root nor the owner", make: func(t *testing.T, dir string) string {
			place(t, filepath.Join(dir, settingsName), his, 0o644)
			return dir
		}},
		{name: "root's with settings of his, told", as: his, osUser: "54321", make: func(t *testing.T, dir string) string {
			place(t, filepath.Join(dir, settingsName), his, 0o600)
			return dir
		}},
		{name: "root's with settings that his group writes", fails: "may write", make: func(t *testing.T, dir string) string {
			place(t, filepath.Join(dir, settingsName), 0, 0o660)
			if err := os.Chown(filepath.Join(dir, settingsName), 0, his); err != nil {
				t.Fatal(err)
			}
			return dir
		}},
		{name: "his by a link of another's", fails: "belongs to", make: func(t *testing.T, dir string) string {
			live := place(t, filepath.Join(dir, "his"), his, 0o755)
			place(t, filepath.Join(live, settingsName), his, 0o600)
			place(t, filepath.Join(dir, "another"), anothers, 0o755)
			symlink(t, live, filepath.Join(dir, "another", "live"), anothers)
			return filepath.Join(dir, "another", "live")
		}},
		{name: "his by a link of another's, told", as: his, osUser: "54321", make: func(t *testing.T, dir string) string {
			live := place(t, filepath.Join(dir, "his"), his, 0o755)
			place(t, filepath.Join(live, settingsName), his, 0o600)
			place(t, filepath.Join(dir, "another"), anothers, 0o755)
			symlink(t, live, filepath.Join(dir, "another", "live"), anothers)
			return filepath.Join(dir, "another", "live")
		}},
		{name: "root's below his", fails: "belongs to", make: func(t *testing.T, dir string) string {
			live := place(t, filepath.Join(dir, "live"), 0, 0o755)
			place(t, filepath.Join(live, settingsName), 0, 0o644)
			place(t, dir, his, 0o755)
			return live
		}},
		{name: "root's below his, told", as: his, osUser: "54321", make: func(t *testing.T, dir string) string {
			live := place(t, filepath.Join(dir, "live"), 0, 0o755)
			place(t, filepath.Join(live, settingsName), 0, 0o644)
			place(t, dir, his, 0o755)
			return live
		}},
		{name: "root's below his, root told", fails: "belongs to", osUser: "root", make: func(t *testing.T, dir string) string {
			live := place(t, filepath.Join(dir, "live"), 0, 0o755)
			place(t, filepath.Join(live, settingsName), 0, 0o644)
			place(t, dir, his, 0o755)
			return live
		}},
		{name: "a link of his to a directory that everybody writes", fails: "root does not act", make: func(t *testing.T, dir string) string {
			open := place(t, filepath.Join(dir, "open"), 0, 0o777|fs.ModeSticky)
			place(t, filepath.Join(open, settingsName), his, 0o644)
			symlink(t, "../open", filepath.Join(place(t, filepath.Join(dir, "home"), his, 0o755), "live"), his)
			return filepath.Join(dir, "home", "live")
		}},
		{name: "a user that there is not", osUser: "no-such-user", fails: "unknown user", make: func(t *testing.T, dir string) string {
			return dir
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
				t.Fatal(err)
			}
			live := c.make(t, dir)
			inst, err := Load(live, c.osUser, Addresses{})
			if c.fails != "" {
				if err == nil || !strings.Contains(err.Error(), c.fails) || CauseOf(err).Cause == "" {
					t.Fatalf("got %v (%v), want %q", err, CauseOf(err), c.fails)
				}
				return
			}
			if err != nil {
				t.Fatalf("%v (%v)", err, CauseOf(err))
			}
			if inst.User == nil && c.as != 0 || inst.User != nil && inst.User.UID != c.as {
				t.Errorf("acting as %v, want %d", inst.User, c.as)
			}
			if want := map[uint32]string{0: "root", his: "54321"}[c.as]; inst.OSUser != want || inst.Dir != live {
				t.Errorf("Mastodon's user is %q in %s, want %q in %s", inst.OSUser, inst.Dir, want, live)
			}
		})
	}
}
