package media

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"permafrost/source"
)

// mastodon is the number of a user and of a group whom the media belong to.
const mastodon = 4242

// Whoever chose what a tree is like gets no right by its restore, and what is left out is told once for each kind.
func TestTargetUntrusted(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("this test is about what root gives away: run it as root")
	}
	e := func(typ source.Type, path string, mode, uid, gid uint32) *source.Entry {
		return &source.Entry{Path: path, Type: typ, Mode: mode, UID: uid, GID: gid, Nlink: 1}
	}
	link := func(path, to string) *source.Entry {
		x := e(source.Symlink, path, 0o777, mastodon, mastodon)
		x.Target = to
		return x
	}
	attributes := e(source.File, "attributes", 0o755, mastodon, mastodon)
	for _, name := range []string{"security.capability", "security.SMACK64EXEC", "trusted.overlay.opaque", "user.note"} {
		attributes.Xattrs = append(attributes.Xattrs, source.Xattr{Name: name, Value: []byte{1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}})
	}
	attributes.Xattrs = append(attributes.Xattrs, source.Xattr{Name: aclAccess, Value: acl(6, 0)})
	entries := []*source.Entry{
		e(source.Dir, ".", 0o755, mastodon, mastodon), e(source.Dir, "dev", 0o755, mastodon, mastodon), e(source.Dir, "links", 0o755, mastodon, mastodon),
		e(source.File, "plain", 0o644, mastodon, mastodon), e(source.File, "setuid", 0o4755, mastodon, mastodon), e(source.File, "setgid", 0o2755, mastodon, 6),
		e(source.File, "suid-root", 0o6755, 0, 0), e(source.File, "by-root", 0o644, 0, mastodon), e(source.File, "shadow", 0o664, mastodon, 0),
		e(source.File, "another", 0o600, 77, 78), e(source.Dir, "inherits", 0o2775, mastodon, mastodon), e(source.Dir, "docker", 0o2775, mastodon, 999),
		e(source.Dir, "tmp", 0o1777, 0, mastodon), e(source.Char, "mem", 0o666, mastodon, mastodon), e(source.Block, "dev/disk", 0o666, mastodon, mastodon),
		e(source.FIFO, "fifo", 0o622, mastodon, mastodon), attributes,
		link("absolute", "/etc/passwd"), link("up", ".."), link("links/up", "../../x"), link("links/round", "a/../../../x"), link("inside", "./links/../x"),
		link("links/in", "..//plain"), link("links/next", "in"), link("links/empty-dir", "../docker/"),
	}
	dir := t.TempDir()
	var warned warnings
	target := newTarget(t, dir, TargetOptions{Owner: "no such user", Warn: warned.warn})
	target.Own(entries[0])
	for _, x := range entries {
		switch x.Type {
		case source.Dir:
			must(t, target.Dir(x))
		case source.Symlink:
			must(t, target.Symlink(x))
		case source.File:
			must(t, put(target, x))
		default:
			must(t, target.Special(x))
		}
	}
	for _, x := range entries {
		if x.Type == source.Dir {
			must(t, target.SetDir(x))
		}
	}
	must(t, target.Close())
	var got []string
	for _, x := range walk(t, openTree(t, dir, Options{})) {
		var names []string
		for _, a := range x.Xattrs {
			names = append(names, a.Name)
		}
		got = append(got, strings.TrimSpace(fmt.Sprintf("%s %c %o %d:%d %s %s", x.Path, x.Type, x.Mode, x.UID, x.GID, x.Target, strings.Join(names, " "))))
	}
	want := []string{
		". d 755 4242:4242", "another f 600 77:78", "attributes f 755 4242:4242  system.posix_acl_access user.note", "by-root f 644 4242:4242",
		"dev d 755 4242:4242", "docker d 775 4242:999", "fifo p 622 4242:4242", "inherits d 2775 4242:4242", "links d 755 4242:4242",
		"links/empty-dir l 777 4242:4242 ../docker/", "links/in l 777 4242:4242 ..//plain", "links/next l 777 4242:4242 in",
		"plain f 644 4242:4242", "setgid f 755 4242:6", "setuid f 755 4242:4242", "shadow f 664 4242:4242", "suid-root f 755 4242:4242", "tmp d 1777 4242:4242",
	}
	if slices.Sort(got); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	slices.Sort(warned)
	wantWarned := warnings{
		"absolute: 5 files: symbolic links that lead out of the media left out: the media are not trusted",
		"attributes: 3 files: extended attributes that root alone can set left out: the media are not trusted",
		"mem: 2 files: devices left out: the media are not trusted",
		"setuid: 4 files: setuid and setgid bits left out: the media are not trusted",
		"suid-root: 4 files: root's, and now of the media's owner: the media are not trusted",
	}
	if !slices.Equal(warned, wantWarned) {
		t.Errorf("got  %q\nwant %q", warned, wantWarned)
	}
}

// What would be root's belongs to the owner of the tree's root, else to Mastodon's user, and is root's where both are.
func TestMediaOwner(t *testing.T) {
	for _, c := range []struct {
		root     uint32
		owner    string
		numeric  bool
		uid, gid int
	}{
		{mastodon, "nobody", false, mastodon, mastodon},
		{0, "nobody", false, nobody, nobody},
		{0, "root", false, 0, 0},
		{0, "no such user", false, 0, 0},
		{0, "", false, 0, 0},
		{5555, "", false, 0, 0}, // it has root's name there
		{5555, "", true, 5555, 5555},
		{5555, "nobody", false, nobody, nobody},
	} {
		o := newOwners(TargetOptions{Users: map[uint32]string{5555: "root"}, Groups: map[uint32]string{5555: "root"}, Owner: c.owner, NumericIDs: c.numeric})
		o.own(&source.Entry{Path: ".", UID: c.root, GID: c.root})
		uid, gid := 0, 0
		if o.replaceRoot(&uid, &gid); uid != c.uid || gid != c.gid {
			t.Errorf("%+v: %d:%d", c, uid, gid)
		}
	}
}

// A link that is judged harmless stays in the tree wherever it leads by way of other such links.
func TestLeadsOut(t *testing.T) {
	for _, c := range []struct {
		path, target string
		out          bool
	}{
		{"l", "a", false}, {"l", "a/b", false}, {"l", ".", false}, {"l", "", false}, {"l", "..", true}, {"l", "../a", true}, {"l", "/", true}, {"l", "//a", true},
		{"a/l", "..", false}, {"a/l", "../b", false}, {"a/l", "../..", true}, {"a/l", "./../b", false}, {"a/l", "b/..", true}, {"a/b/l", "../../c", false},
		{"a/b/l", "../../../c", true}, {"a/b/l", "../c/../d", true}, {"l", "...", false}, {"l", "..a", false}, {"l", "a..", false},
	} {
		if got := leadsOut(c.path, c.target); got != c.out {
			t.Errorf("%s -> %s: %v", c.path, c.target, got)
		}
	}
}
