package restore

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"permafrost/internal/snaptest"
	"permafrost/snapshot"
	"permafrost/snapshot/stream"

	"golang.org/x/sys/unix"

	"permafrost/chunk"
	"permafrost/internal/hostile"
	"permafrost/repo/store"
	"permafrost/source"
)

var hostileRestores = flag.Int("restores", 500, "hostile snapshots that TestHostileRestores restores")

// jailVar is, for a process of TestHostileRestores, the directory that its world is made in.
const jailVar = "PERMAFROST_TEST_JAIL"

// Whatever a manifest and a listing say, whatever is in the target, and whoever owns it: a restore by root writes nothing
// around the target, and what it makes there lends nobody's rights.
func TestHostileRestores(t *testing.T) {
	if dir := os.Getenv(jailVar); dir != "" {
		enterJail(t, dir)
		n, _ := strconv.Atoi(os.Getenv(jailVar + "_N"))
		outcomes := make(map[string]int)
		for seed := range n {
			outcomes[hostileRestore(t, uint64(seed))]++
			if t.Failed() {
				t.Fatalf("seed %d", seed)
			}
		}
		t.Logf("%d restores: %v", n, outcomes)
		return
	}
	if os.Geteuid() != 0 {
		t.Fatal("this test is about what root must not be led to: run it as root")
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=2h")
	cmd.Env = append(os.Environ(), jailVar+"="+t.TempDir(), fmt.Sprintf("%s_N=%d", jailVar, *hostileRestores))
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET}
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Error(err)
	}
}

// enterJail makes a small world in memory, and nothing else to be there for this process.
func enterJail(t *testing.T, dir string) {
	must := func(errs ...error) {
		t.Helper()
		for _, err := range errs {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	must(unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""), unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=0755"),
		os.Mkdir(dir+"/proc", 0o755), unix.Mount("proc", dir+"/proc", "proc", 0, ""), unix.Chroot(dir), os.Chdir("/"))
	for _, d := range []struct {
		path string
		uid  int
	}{{"/etc/cron.d", 0}, {"/root/.ssh", 0}, {"/home/mastodon/live/public/system/a", 991}, {"/work", 0}} {
		must(os.MkdirAll(d.path, 0o755), os.Chown(d.path, d.uid, d.uid))
	}
	must(os.Chown("/home/mastodon", 991, 991), os.Chown("/home/mastodon/live", 991, 991))
	for name, text := range map[string]string{"/etc/passwd": "root:x:0:0::/root:/bin/sh\nmastodon:x:991:991::/home/mastodon:/bin/sh\npostgres:x:70:70::/:/bin/sh\n",
		"/etc/group": "root:x:0:\nmastodon:x:991:\ndocker:x:72:\n", "/etc/shadow": "root:*:\n", "/etc/cron.d/job": "", "/root/.ssh/authorized_keys": "key\n",
		"/home/mastodon/live/public/system/a/b": "b", "/canary": "canary", "/linked": "linked"} {
		must(os.WriteFile(name, []byte(text), 0o600))
	}
	must(unix.Mkfifo("/etc/fifo", 0o666), unix.Mknod("/null", unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))), os.Chmod("/etc/passwd", 0o644), os.Chmod("/etc/group", 0o644))
}

// hostileRestore restores one made-up snapshot, and says how that ended.
func hostileRestore(t *testing.T, seed uint64) string {
	r := rand.New(rand.NewPCG(seed, 7))
	h := &hostileCase{t: t, r: r, blobs: snaptest.Blobs{}, planted: make(map[string]bool)}
	m := h.manifest()
	if m == nil {
		return "refused"
	}
	target := h.target()
	defer os.RemoveAll("/work/round")
	before, err := around(target)
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Target: target, Force: r.IntN(4) > 0, NumericIDs: r.IntN(4) == 0, TrustMedia: r.IntN(4) == 0, Warn: func(error) {}, Progress: snapshot.NoProgress{}, Texts: hostileTexts,
		Overwrite: snaptest.Pick(r, "", "", IfChanged, Always, Never), Delete: r.IntN(3) == 0}
	if r.IntN(4) == 0 {
		o.Include, o.Exclude = []string{snaptest.Pick(r, "a/", "b/**", "*")}, []string{snaptest.Pick(r, "c", "/d", "*/a")}
	}
	dry := r.IntN(10) == 0
	if dry {
		o.Preview = func(Planned) {}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	rs := &restorer{Options: o, rd: h.blobs, m: m, out: Result{Manifest: m}}
	outcome := "not begun"
	if err = rs.open(ctx, allComponents); err == nil {
		outcome = "done"
		restore := rs.write
		if dry {
			restore = rs.preview
		}
		if err = restore(ctx, allComponents); err != nil {
			outcome = "failed"
		}
	}
	rs.close()
	if ctx.Err() != nil {
		t.Error("it does not end")
	}
	after, err2 := around(target)
	if err2 != nil || before != after {
		t.Errorf("%+v changed what is around the target: %v, %v\nwas\n%s\nis\n%s", o, err, err2, before, after)
	}
	if data, err := os.ReadFile("/linked"); err != nil || string(data) != "linked" || !rootsOwn(t, "/linked") {
		t.Errorf("%+v changed a file of root's by a link to it in the target: %q, %v", o, data, err)
	}
	if !o.TrustMedia && outcome != "not begun" { // else what is there is not of the snapshot
		h.harmless(path.Join(target, mediaDir))
	}
	return outcome
}

var allComponents = map[string]bool{"secrets": true, "postgres": true, "media": true, "redis": true}

// hostileTexts writes where the real ones are, and reads what they read.
func hostileTexts(r *Restored) ([]TextFile, error) {
	if f, err := r.Open(dumpFile(r.Manifest)); err == nil {
		io.CopyN(io.Discard, f, 1<<20)
		f.Close()
	}
	return []TextFile{{Name: "RESTORE.md"}, {Name: "restore.sh"}, {Name: "plan/host.sh", Edited: true}}, nil
}

// around is the fingerprint of the world but for the target. The directory that it is in may get it.
func around(target string) (string, error) {
	all, err := hostile.Fingerprint("/", "/proc", target)
	var kept strings.Builder
	for line := range strings.Lines(all) {
		if !strings.HasPrefix(line, fmt.Sprintf("%q ", path.Dir(target))) && !strings.HasPrefix(line, `"/linked" `) {
			kept.WriteString(line)
		}
	}
	return kept.String(), err
}

// rootsOwn reports whether a file is still root's and nobody else's.
func rootsOwn(t *testing.T, path string) bool {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Error(err)
	}
	return st.Uid == 0 && st.Gid == 0 && st.Mode == unix.S_IFREG|0o600
}

type hostileCase struct {
	t       *testing.T
	r       *rand.Rand
	blobs   snaptest.Blobs
	paths   []string
	planted map[string]bool // what was in the target before
}

// manifest returns a made-up manifest, if it can be read.
func (h *hostileCase) manifest() *snapshot.Manifest {
	r := h.r
	m := madeUp()
	m.Users = map[uint32]string{991: snaptest.Pick(r, "mastodon", "root", "postgres", "x"), 5: snaptest.Pick(r, "root", "postgres"), 0: "mastodon"}
	m.Groups = map[uint32]string{991: snaptest.Pick(r, "mastodon", "root", "docker"), 5: "root"}
	for range r.IntN(4) {
		m.Secrets.Files = append(m.Secrets.Files, snapshot.SecretFile{Path: snapshot.Text(h.secretPath()), Mode: uint32(r.IntN(0o10000)), UID: snaptest.Pick[uint32](r, 0, 991), MTime: r.Int64()})
	}
	if r.IntN(2) == 0 {
		hostile.Rewrite(r, m)
	}
	if r.IntN(2) == 0 {
		m.User = snaptest.Pick(r, "mastodon", "root", "", "991", "0", "-1", "postgres")
	}
	for i := range m.Secrets.Files {
		m.Secrets.Files[i].Stream = h.stream()
	}
	m.Postgres.Stream, m.Redis.Stream, m.Sidekiq.Stream = h.stream(), h.stream(), h.stream()
	m.Media.Listing = h.listing()
	m.Media.Files, m.Media.Size = min(m.Media.Listing.Entries, snaptest.Pick[int64](r, 0, 1, 100)), snaptest.Pick[int64](r, 0, 1, 1<<50)
	data, err := json.Marshal(m)
	if err != nil {
		h.t.Fatal(err)
	}
	if m, err = snapshot.ParseManifest(data); err != nil {
		return nil
	}
	return m
}

func (h *hostileCase) secretPath() string {
	return snaptest.Pick(h.r, "/a", "/a/b", "/etc/passwd", "/secrets", "/link/x", "/link", "/.", "/..", "/../../etc/x", "/a/../../../etc/cron.d/x", "//etc", "/a//b",
		"/"+strings.Repeat("n", 250), "/"+strings.Repeat("n/", 3000)+"n", "/env.production", hostile.Path(h.r))
}

// stream returns a stream of a few bytes, which may not be what its sum says.
func (h *hostileCase) stream() snapshot.Stream {
	data := []byte(hostile.Name(h.r))
	if h.r.IntN(4) == 0 {
		return snapshot.Stream{Size: 1, SHA256: sha256.Sum256(data), Recipe: stream.Recipe(snaptest.HostileRecipe(h.r, h.blobs))}
	}
	s := snapshot.Stream{Size: int64(len(data)), SHA256: snapshot.SHA256(sha256.Sum256(data)), Recipe: stream.Whole(h.blob(data), int64(len(data)))}
	if h.r.IntN(20) == 0 {
		s.SHA256[0]++
	}
	return s
}

func (h *hostileCase) blob(data []byte) chunk.ID {
	id, _ := h.blobs.Put(data)
	return id
}

// target prepares the directory to restore into.
func (h *hostileCase) target() string {
	r := h.r
	uid := snaptest.Pick(r, 0, 0, 991)
	round := "/work/round"
	made := func(path string, uid int) {
		if err := os.MkdirAll(path, 0o755); err != nil {
			h.t.Fatal(err)
		}
		os.Chown(path, uid, uid)
	}
	made(round, uid)
	target := round + "/target"
	switch r.IntN(6) {
	case 0: // to be made
		return target
	case 1: // a link
		os.Symlink(snaptest.Pick(r, "/etc", "/root", "/root/.ssh/new"), target)
		os.Lchown(target, 991, 991)
		return target
	case 2: // a link of root's, which is followed
		os.Symlink("elsewhere", target)
		return round + "/elsewhere"
	}
	made(target, snaptest.Pick(r, uid, uid, 991))
	if r.IntN(3) == 0 {
		h.state(target)
	}
	for range r.IntN(12) {
		name := target + "/" + snaptest.Pick(r, "public-system", "public-system", "public-system", "secrets", "env.production", "RESTORE.md", "SHA256SUMS", "redis-dump.rdb", "env.production.partial", "secrets/a",
			"SHA256SUMS.partial", "public-system/a", "public-system/b", "public-system/a/b", "public-system/a/c", "public-system/b/"+snaptest.Pick(r, "a", "b", "c", "d"), "mastodon_production.dump.partial",
			"mastodon_production.dump", stateName, "public-system/"+mediaPart("a"), "public-system/a/"+mediaPart("b"))
		h.planted[name] = true
		to := snaptest.Pick(r, "/etc", "/etc/passwd", "/canary", "/home/mastodon/live/public/system", "..", "../..", "/root/.ssh/authorized_keys", "public-system", "/etc/new", "/null", "/etc/fifo")
		if _, err := os.Lstat(name); err == nil {
			continue
		}
		if dir, err := filepath.EvalSymlinks(path.Dir(name)); err != nil || dir != path.Dir(name) {
			continue
		}
		switch r.IntN(6) {
		case 0, 5:
			os.Mkdir(name, snaptest.Pick[fs.FileMode](r, 0o755, 0o755, 0o700, 0o777))
		case 4:
			os.Link("/linked", name)
			continue // root's it stays
		case 1:
			unix.Mkfifo(name, 0o666)
		case 2:
			os.WriteFile(name, []byte("there"), 0o666)
		default:
			os.Symlink(to, name)
		}
		if r.IntN(3) == 0 {
			os.Lchown(name, 991, 991)
		}
	}
	return target
}

// state lets the target say of itself what could lead a restore on.
func (h *hostileCase) state(target string) {
	r := h.r
	text := fmt.Sprintf(`{"permafrost_restore":%d,"snapshot":%q,"instance":"x","date":"%s","components":["media",%q],"finished":%v,"boot":%q}`, snaptest.Pick(r, 1, 1, 1, 2),
		snaptest.Pick(r, store.Name{}.String(), strings.Repeat("ab", 32), "../../etc", ""), snaptest.Pick(r, "2026-06-27", `\u001b[2J`), snaptest.Pick(r, "postgres", "../x", ""), r.IntN(2) == 0, snaptest.Pick(r, bootID(), "x", ""))
	os.WriteFile(target+"/"+stateName, []byte(snaptest.Pick(r, text, text, text, "{", strings.Repeat("[", 1<<17))), 0o644)
}

// mediaPart is what a file of the media is called until it is whole.
func mediaPart(name string) string {
	sum := sha256.Sum256([]byte(name))
	return fmt.Sprintf(".permafrost-%x.partial", sum[:8])
}

// listing returns a made-up listing: most are in order, and some of what is in them fits.
func (h *hostileCase) listing() snapshot.Listing {
	r := h.r
	var entries []*snapshot.Entry
	if r.IntN(10) > 0 {
		entries = append(entries, h.entry("."))
		entries[0].Type = snaptest.Pick(r, source.Dir, source.Dir, source.Dir, source.Dir, source.Symlink, source.File)
	}
	wild := r.IntN(3) == 0
	kinds := make(map[string]source.Type)
	for range 1 + r.IntN(30) {
		p := h.path()
		if above := kinds[path.Dir(p)]; !wild && (kinds[p] != 0 || path.Dir(p) != "." && above != source.Dir) {
			continue
		}
		e := h.entry(p)
		kinds[p] = e.Type
		entries = append(entries, e)
		h.paths = append(h.paths, p)
	}
	if r.IntN(20) > 0 {
		slices.SortFunc(entries, func(a, b *snapshot.Entry) int { return source.ComparePaths(a.Path, b.Path) })
		entries = slices.CompactFunc(entries, func(a, b *snapshot.Entry) bool { return a.Path == b.Path })
	}
	leaf := []byte{'L', 0}
	var coder entryWriter
	for _, e := range entries {
		leaf = coder.append(leaf, e)
	}
	if r.IntN(20) == 0 {
		leaf[r.IntN(len(leaf))] ^= byte(1 << r.IntN(8))
	}
	id, first := h.blob(leaf), ""
	if len(entries) > 0 {
		first = entries[0].Path
	}
	root := binary.AppendUvarint(id[:], uint64(len(entries)))
	return snapshot.Listing{Entries: int64(len(entries)), Depth: 1, Root: suffix(root, "", first)}
}

func (h *hostileCase) path() string {
	r := h.r
	names := []string{snaptest.Pick(r, "a", "b", "c", "d")}
	for range r.IntN(4) {
		names = append(names, snaptest.Pick(r, "a", "b", "c", "d"))
	}
	switch r.IntN(40) {
	case 0:
		return snaptest.Pick(r, "..", "../a", "a/../../b", "/etc/passwd", "a//b", "a/./b", "./a", "a/", "", "a\x00b", "../../../etc/cron.d/x", strings.Repeat("n/", 9000)+"n")
	case 1:
		return strings.TrimPrefix(hostile.Path(r), "/")
	}
	return strings.Join(names, "/")
}

// entry returns an entry of any kind.
func (h *hostileCase) entry(p string) *snapshot.Entry {
	r := h.r
	e := &snapshot.Entry{Entry: source.Entry{Path: p, Mode: uint32(r.IntN(0o10000)), MTime: r.Int64() >> r.IntN(64)}}
	e.UID, e.GID = snaptest.Pick[uint32](r, 0, 5, 70, 991, 991, 1<<32-1, 1<<32-2), snaptest.Pick[uint32](r, 0, 5, 72, 991, 991, 1<<32-1)
	e.Type = snaptest.Pick(r, source.Dir, source.Dir, source.Dir, source.File, source.File, source.Symlink, source.Symlink, source.FIFO, source.Socket, source.Block, source.Char)
	switch e.Type {
	case source.Symlink:
		e.Target = snaptest.Pick(r, "/etc", "/etc/passwd", "..", "../..", "../../../etc", "/proc/self/cwd", "/proc/self/root", "a", "b/../../c", ".", "", "a\x00b", strings.Repeat("../", 50)+"etc")
	case source.Block, source.Char:
		e.Rdev = snaptest.Pick(r, unix.Mkdev(1, 3), unix.Mkdev(1, 1), r.Uint64())
	case source.File:
		h.fill(e)
	}
	for range max(0, r.IntN(8)-5) {
		e.Xattrs = append(e.Xattrs, source.Xattr{Name: snaptest.Pick(r, "user.x", "security.capability", "security.selinux", "security.ima", "trusted.x", aclName, "system.posix_acl_default",
			"system.odd", "", "user.", "a\x00b"), Value: []byte(hostile.Name(r))})
	}
	return e
}

const aclName = "system.posix_acl_access"

// fill gives a file its content, or makes it a further name.
func (h *hostileCase) fill(e *snapshot.Entry) {
	r := h.r
	data := []byte(snaptest.Pick(r, hostile.Name(r), "linked", "there"))
	e.Size = int64(len(data))
	switch r.IntN(7) {
	case 0:
		e.Size = 0
	case 6:
		e.Content = stream.Recipe(snaptest.HostileRecipe(h.r, h.blobs))
		e.Size = e.Content.Size
	case 1:
		e.Link = snaptest.Pick(r, "a", "a/b", "b", "../../etc/passwd", "/etc/shadow", "..")
		if len(h.paths) > 0 && r.IntN(2) == 0 {
			e.Link = snaptest.Pick(r, h.paths...)
		}
	case 2:
		hole := snaptest.Pick[int64](r, 1, 1<<20, 1<<40, 1<<60)
		root := snaptest.Chunk(nil, hole, chunk.ID{})
		e.Content.Root = snaptest.Chunk(root, e.Size, h.blob(data))
		e.Size += hole
		e.Content.Size = e.Size
	case 3:
		e.Content = stream.Whole(chunk.ID(sha256.Sum256(data)), e.Size) // is nowhere
	default:
		e.Content = stream.Whole(h.blob(data), e.Size)
	}
}

// harmless looks at restored media: nothing there lends a right or leads out.
func (h *hostileCase) harmless(media string) {
	if info, err := os.Lstat(media); err != nil || !info.IsDir() {
		return
	}
	err := filepath.WalkDir(media, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		mode := info.Mode()
		if h.planted[name] && !mode.IsRegular() {
			return nil
		}
		if mode.IsRegular() && mode&(fs.ModeSetuid|fs.ModeSetgid) != 0 || mode&fs.ModeDevice != 0 || mode&fs.ModeSetuid != 0 {
			h.t.Errorf("%q is %v", name, mode)
		}
		if mode&fs.ModeSymlink != 0 {
			if to, err := filepath.EvalSymlinks(name); err == nil && to != media && !strings.HasPrefix(to, media+"/") {
				h.t.Errorf("%q leads to %q", name, to)
			}
			return nil
		}
		for _, attr := range []string{"security.capability", "security.ima", "trusted.x"} {
			if _, err := unix.Lgetxattr(name, attr, nil); err == nil {
				h.t.Errorf("%q has %s", name, attr)
			}
		}
		return nil
	})
	if err != nil {
		h.t.Error(err)
	}
}
