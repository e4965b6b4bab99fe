package deploy

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"permafrost/source"
)

// testID returns the ID of the nth container.
func testID(n int) string { return fmt.Sprintf("%064x", n) }

// testContainer returns a running container of a project in one network.
func testContainer(n int, project, service, network string, more ...func(*container)) *container {
	c := &container{ID: testID(n), Name: fmt.Sprintf("%s-%s-%d", project, service, n)}
	c.State.Running, c.State.Status = true, "running"
	c.Config.Labels = map[string]string{labelProject: project, labelDir: "/srv/mastodon", labelService: service, labelOneOff: "False"}
	c.Settings.Networks = map[string]endpoint{network: {Aliases: []string{service}, IPAddress: fmt.Sprintf("172.30.0.%d", n)}}
	for _, change := range more {
		change(c)
	}
	return c
}

func mastodonsOwn(c *container)       { c.Config.Env = []string{"LOCAL_DOMAIN=example.social", "DB_HOST=db"} }
func notRunning(c *container)         { c.State.Running, c.State.Status = false, "exited" }
func oneOff(c *container)             { c.Config.Labels[labelOneOff] = "True" }
func inDir(d string) func(*container) { return func(c *container) { c.Config.Labels[labelDir] = d } }

// A fakeEngine is a directory with a command that answers for containers.
type fakeEngine struct {
	t   *testing.T
	dir string
}

// newEngine makes a command that answers as docker does for these containers. Its socket is root's.
func newFakeEngine(t *testing.T, containers ...*container) *fakeEngine {
	t.Helper()
	e := &fakeEngine{t, t.TempDir()}
	l, err := net.Listen("unix", filepath.Join(e.dir, "sock"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	e.answer("version", "Docker version 28.2.2, build e6534b4\n")
	e.answer("context", "unix://"+filepath.Join(e.dir, "sock")+"\n")
	var ids strings.Builder
	for _, c := range containers {
		ids.WriteString(c.ID + "\n")
	}
	text, err := json.Marshal(containers)
	if err != nil {
		t.Fatal(err)
	}
	e.answer("ids", ids.String())
	e.answer("containers", string(text))
	e.write("docker", `#!/bin/sh
cd "${0%/*}"
case "$1 $2" in
"--version ") exec cat version ;;
"context inspect") exec cat context ;;
"ps --all") test "$6" = label=com.docker.compose.project && exec cat ids; exit 0 ;;
"container inspect") exec cat containers ;;
esac
echo "unexpected: $*" >&2
exit 1
`, 0o755)
	return e
}

func (e *fakeEngine) answer(name, text string) { e.write(name, text, 0o644) }

func (e *fakeEngine) write(name, text string, mode os.FileMode) {
	e.t.Helper()
	if err := os.WriteFile(filepath.Join(e.dir, name), []byte(text), mode); err != nil {
		e.t.Fatal(err)
	}
}

func (e *fakeEngine) path() string { return filepath.Join(e.dir, "docker") }

func (e *fakeEngine) find(live string, o Options) (*Found, error) {
	if o.Engine == "" {
		o.Engine = e.path()
	}
	return Find(e.t.Context(), live, o)
}

// The project is that of the live directory, without containers made by `run`, and must be one.
func TestFindProject(t *testing.T) {
	link := filepath.Join(t.TempDir(), "link")
	live := t.TempDir()
	if err := os.Symlink(live, link); err != nil {
		t.Fatal(err)
	}
	web := testContainer(1, "m", "web", "internal", mastodonsOwn, inDir(link))
	db := testContainer(2, "m", "db", "internal", inDir(link))
	other := testContainer(3, "n", "db", "internal", inDir(live))
	once := testContainer(4, "m", "db", "internal", inDir(live), oneOff)
	away := testContainer(5, "away", "web", "internal", mastodonsOwn, inDir("/elsewhere"))
	for _, c := range []struct {
		name       string
		containers []*container
		o          Options
		want       []string // names of the project's containers
		err        string
		cause      source.Cause
	}{
		{"one", []*container{web, db, once, away}, Options{}, []string{"m-web-1", "m-db-2"}, "", ""},
		{"none", []*container{away}, Options{}, nil, "", ""},
		{"two", []*container{web, db, other}, Options{}, nil, "several Compose projects have this directory: m, n", CauseSeveralProjects},
		{"named", []*container{web, db, other}, Options{Project: "n"}, []string{"n-db-3"}, "", ""},
		{"named, elsewhere", []*container{web, away}, Options{Project: "away"}, []string{"away-web-5"}, "", ""},
		{"named and missing", []*container{web}, Options{Project: "x"}, nil, `no container belongs to a Compose project "x"`, CauseNoProject},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := newFakeEngine(t, c.containers...)
			if c.o.Project != "" { // the filter names it
				text, _ := os.ReadFile(e.path())
				e.write("docker", strings.Replace(string(text), "label=com.docker.compose.project ", "label=com.docker.compose.project="+c.o.Project+" ", 1), 0o755)
			}
			f, err := e.find(live, c.o)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) || source.CauseOf(err).Cause != c.cause {
					t.Errorf("error %v, %v", err, source.CauseOf(err))
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			if f.project != nil {
				for _, c := range f.project.containers {
					got = append(got, c.Name)
				}
			}
			slices.Sort(got)
			slices.Sort(c.want)
			if !slices.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

// A name is what the engine's DNS makes of it, in the networks of Mastodon's container.
func TestResolve(t *testing.T) {
	web := testContainer(1, "m", "web", "internal", mastodonsOwn)
	p := &Project{Name: "m", engine: &engine{name: "docker"}, served: web, containers: []*container{
		web,
		testContainer(2, "m", "db", "internal"),
		testContainer(3, "m", "redis", "internal"), testContainer(4, "m", "redis", "internal"),
		testContainer(5, "m", "search", "internal", notRunning),
		testContainer(6, "m", "far", "another"),
		testContainer(7, "m", "cache", "internal"), testContainer(8, "m", "cache", "internal", notRunning),
	}, others: []*container{
		testContainer(9, "shared", "postgres", "internal"),
		testContainer(10, "shared", "db", "internal"),
	}}
	for name, want := range map[string]string{
		"db": "m-db-2", "DB": "m-db-2", "m-db-2": "m-db-2", "m-redis-4": "m-redis-4", "postgres": "shared-postgres-9", "cache": "m-cache-7",
		"localhost": "", "db.example": "", "far": "", "172.30.0.2": "",
		"redis":  "redis is 2 containers of the project m: m-redis-3, m-redis-4",
		"search": "the container m-search-5 of the project m is exited",
	} {
		c, err := p.resolve(name)
		got := ""
		if c != nil {
			got = c.Name
		}
		if err != nil {
			var reach *source.ReachError
			if got = err.Error(); !errors.As(err, &reach) || source.CauseOf(err).Cause == "" {
				t.Errorf("%s: %v has no cause", name, err)
			}
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

// Whatever an engine says, nothing fails for it unless it was asked for by name, and why is told where a name has no address.
func TestEngineFails(t *testing.T) {
	live := t.TempDir()
	if err := os.WriteFile(filepath.Join(live, "docker-compose.yml"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		change func(e *fakeEngine)
		want   string
	}{
		{"does not answer", func(e *fakeEngine) {
			e.write("docker", "#!/bin/sh\necho Cannot connect to the Docker daemon >&2\nexit 1\n", 0o755)
		}, "Cannot connect to the Docker daemon"},
		{"remote", func(e *fakeEngine) { e.answer("context", "ssh://elsewhere.example\n") }, "ssh://elsewhere.example"},
		{"no JSON", func(e *fakeEngine) { e.answer("containers", "[{") }, "what the engine says of its containers"},
		{"odd IDs", func(e *fakeEngine) { e.answer("ids", "--format\n") }, `names a container "--format"`},
		{"without IDs", func(e *fakeEngine) { e.answer("containers", `[{"Name":"x"}]`) }, "one has no ID"},
		{"null", func(e *fakeEngine) { e.answer("containers", `[null]`) }, "one has no ID"},
		{"talkative", func(e *fakeEngine) { e.answer("containers", strings.Repeat(" ", maxAnswer+1)) }, "says more than"},
		{"many", func(e *fakeEngine) { e.answer("ids", strings.Repeat(testID(1)+"\n", maxContainers+1)) }, "more than 500 containers"},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := newFakeEngine(t, testContainer(1, "m", "db", "internal", inDir(live)))
			c.change(e)
			t.Setenv("PATH", e.dir+":"+os.Getenv("PATH"))
			if _, err := e.find(live, Options{Engine: "docker"}); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("named: %v", err)
			}
			f, err := Find(t.Context(), live, Options{})
			if err != nil {
				t.Fatal(err)
			}
			inst := &source.Instance{Database: source.Database{Host: "db"}, Redis: source.Redis{Network: "tcp", Addr: "redis:6379"}}
			if err := f.Attach(t.Context(), inst); err != nil {
				t.Fatal(err)
			}
			if inst.Database.Container != nil || inst.Redis.Dial != nil || inst.Deployment.Kind != source.Unknown {
				t.Errorf("%+v", inst)
			}
			why := inst.Database.NoAddress
			if why == nil || why.Cause != CauseServiceUntold || !slices.Equal(why.Facts[:3], []string{"db", live, "docker-compose.yml"}) || !strings.Contains(why.Facts[3], c.want) {
				t.Errorf("no address because of %v, want %q", why, c.want)
			}
		})
	}
}

// Root asks no engine that another user runs: it could name any process and any directory.
func TestForeignEngine(t *testing.T) {
	if os.Geteuid() != 0 {
		return // who is not root asks with his own rights
	}
	live := t.TempDir()
	e := newFakeEngine(t, testContainer(1, "m", "db", "internal", inDir(live)))
	if f, err := e.find(live, Options{}); err != nil || f.project == nil {
		t.Fatalf("root's own: %v", err)
	}
	if err := os.Chown(filepath.Join(e.dir, "sock"), 65534, 65534); err != nil {
		t.Fatal(err)
	}
	if _, err := e.find(live, Options{}); !errors.Is(err, errForeign) {
		t.Errorf("another user's socket: %v", err)
	}
	if err := os.Chown(e.path(), 65534, 65534); err != nil {
		t.Fatal(err)
	}
	if _, err := e.find(live, Options{}); err == nil || !strings.Contains(err.Error(), "is not run as root") {
		t.Errorf("another user's program: %v", err)
	}
}

// No process is a container's because an engine says so.
func TestForeignProcess(t *testing.T) {
	for _, pid := range []int{0, 1, os.Getpid(), 1 << 22} {
		c := testContainer(1, "m", "db", "internal")
		c.State.Pid = pid
		if p, err := openProcess(c); err == nil {
			p.Close()
			t.Errorf("process %d was taken for a container's", pid)
		}
	}
}

// What runs within another network stays there, and nothing else does. A connection proves in which network its other end is.
func TestNetworks(t *testing.T) {
	if os.Geteuid() != 0 {
		return // only root may make networks
	}
	other := exec.Command("unshare", "--net", "sleep", "60")
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		other.Process.Kill()
		other.Wait()
	}()
	here := testProcess(t, os.Getpid())
	self, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if now, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", other.Process.Pid)); err == nil && now != self || time.Now().After(end) {
			break
		}
	}
	there := testProcess(t, other.Process.Pid)
	var within string
	var sub []byte
	if err := there.within(func() (err error) {
		if within, err = os.Readlink("/proc/thread-self/ns/net"); err == nil {
			sub, err = exec.Command("readlink", "/proc/self/ns/net").Output()
		}
		return err
	}); err != nil || within == self || within == "" || strings.TrimSpace(string(sub)) != within {
		t.Errorf("within %q, its children %q, here %q: %v", within, sub, self, err)
	}
	for range 20 {
		if now, err := os.Readlink("/proc/thread-self/ns/net"); err != nil || now != self {
			t.Fatalf("afterwards in %q: %v", now, err)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := here.proves(t.Context(), conn); err != nil {
		t.Errorf("a connection within this network: %v", err)
	}
	if err := there.proves(t.Context(), conn); err == nil || !strings.Contains(err.Error(), "is not that container") {
		t.Errorf("a connection of another network: %v", err)
	}
}

func testProcess(t *testing.T, pid int) *process {
	t.Helper()
	dir, err := os.Open(fmt.Sprintf("/proc/%d", pid))
	if err != nil {
		t.Fatal(err)
	}
	p := &process{dir: dir}
	if p.net, err = p.open("ns/net"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// Media are where Mastodon's container has them.
func TestMediaMount(t *testing.T) {
	mounts := []mount{{"bind", "/srv/m/public/system", "/mastodon/public/system"}, {"volume", "/var/lib/docker/volumes/x/_data", "/data"}, {"volume", "/big", "/data/media/cache"}}
	for _, c := range []struct {
		env, dir, source, within string
	}{
		{"", "/opt/mastodon", "/srv/m/public/system", "/mastodon/public/system"},
		{"PAPERCLIP_ROOT_PATH=/data/media", "/opt/mastodon", "/var/lib/docker/volumes/x/_data", "/data/media"},
		{"PAPERCLIP_ROOT_PATH=:rails_root/public/system", "/mastodon", "/srv/m/public/system", "/mastodon/public/system"},
		{"PAPERCLIP_ROOT_PATH=media", "/data", "/var/lib/docker/volumes/x/_data", "/data/media"},
	} {
		web := testContainer(1, "m", "web", "internal", mastodonsOwn)
		web.Config.Env, web.Config.WorkingDir, web.Mounts = append(web.Config.Env, c.env), c.dir, mounts
		m, within := (&Project{served: web}).mediaMount()
		if m == nil || m.Source != c.source || within != c.within {
			t.Errorf("%+v: %+v at %s", c, m, within)
		}
	}
	web := testContainer(1, "m", "web", "internal", mastodonsOwn)
	inst := &source.Instance{Media: source.Media{Root: "/srv/mastodon/public/system"}}
	if (&Project{served: web}).attachMedia(inst); len(inst.Warnings) != 1 || inst.Media.Root != "/srv/mastodon/public/system" {
		t.Errorf("without a mount: %+v", inst)
	}
}

// Units are Mastodon's where they work in its directory.
func TestUnits(t *testing.T) {
	text := `Id=mastodon-web.service
ActiveState=active
WorkingDirectory=/srv/live

Id=mastodon-sidekiq.service
ActiveState=failed
WorkingDirectory=/srv/live

WorkingDirectory=!/srv/live
Id=mastodon-streaming@4000.service
ActiveState=active

Id=mastodon-other.service
ActiveState=active
WorkingDirectory=/srv/other

Id=mastodon-none.service
ActiveState=active
WorkingDirectory=

Id=mastodon evil.service
ActiveState=active
WorkingDirectory=/srv/live
`
	units, err := parseUnits(text, "/srv/live")
	if want := []string{"mastodon-streaming@4000.service", "mastodon-web.service"}; err != nil || !slices.Equal(units, want) {
		t.Errorf("units %q, %v", units, err)
	}
	if _, err := parseUnits(strings.Repeat("Id=mastodon-web.service\nActiveState=active\nWorkingDirectory=/srv/live\n\n", maxUnits+1), "/srv/live"); err == nil {
		t.Error("units without end are believed")
	}
}
