package deploy

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"permafrost/internal/hostfs"
	"permafrost/source"
)

// attachMedia fills in where the media are on this host. Mastodon's container has them in a volume, or in a directory of this
// host that may be another than that below the live directory.
func (p *Project) attachMedia(inst *source.Instance) {
	m, within := p.mediaMount()
	if m == nil {
		inst.Warnings = append(inst.Warnings, fmt.Sprintf("the container %s keeps media outside of any volume: uploads are lost with the container", p.served.Name))
		return
	}
	inst.Media.Root = path.Join(m.Source, strings.TrimPrefix(within, m.Destination))
	volume := m.Type == "volume"
	inst.Media.Open = func() (int, *hostfs.User, error) {
		fd, u, err := p.openWithin(within)
		if err == nil {
			return fd, u, nil
		}
		u = inst.User
		if volume {
			u = nil // its place is the engine's own, and closed to others
		}
		return hostfs.OpenTree(inst.Media.Root, u)
	}
}

// mediaMount returns the mount that holds Mastodon's media, and where they are in the container.
func (p *Project) mediaMount() (m *mount, within string) {
	const usual = "public/system"
	env := p.served.env()
	root := env["PAPERCLIP_ROOT_PATH"]
	code := path.Clean("/" + p.served.Config.WorkingDir)
	if root = strings.ReplaceAll(root, ":rails_root", code); root == "" {
		root = usual
	}
	if !path.IsAbs(root) {
		root = path.Join(code, root)
	}
	// Mastodon's image has its code at /opt/mastodon, and the link /mastodon to it, which most Compose files use.
	for _, at := range []string{path.Clean(root), "/opt/mastodon/" + usual, "/mastodon/" + usual} {
		if m := p.served.mountOf(at); m != nil {
			return m, at
		}
	}
	return nil, ""
}

// mountOf returns the mount that a path of the container is in.
func (c *container) mountOf(at string) (best *mount) {
	for i := range c.Mounts {
		m := &c.Mounts[i]
		m.Destination = path.Clean(m.Destination)
		if (at == m.Destination || strings.HasPrefix(at, strings.TrimSuffix(m.Destination, "/")+"/")) &&
			path.IsAbs(m.Source) && (best == nil || len(m.Destination) > len(best.Destination)) {
			best = m
		}
	}
	return best
}

// maxStatus bounds what the kernel says of a process, in bytes.
const maxStatus = 64 << 10

// openWithin opens a directory as Mastodon's container sees it, with the rights of the user whom the container runs as: it may be in a
// directory of this host that is closed to everybody whose it is in the container. Links lead nowhere out of the container.
func (p *Project) openWithin(at string) (fd int, u *hostfs.User, err error) {
	if !p.served.State.Running {
		return -1, nil, errors.New("the container does not run")
	}
	proc, err := openProcess(p.served)
	if err != nil {
		return -1, nil, err
	}
	defer proc.Close()
	if u, err = proc.user(); err != nil {
		return -1, nil, err
	}
	root, err := hostfs.Retry(func() (int, error) {
		return unix.Openat(int(proc.dir.Fd()), "root", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return -1, nil, fmt.Errorf("the file system of the container %s: %w", p.served.Name, err)
	}
	defer unix.Close(root)
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	open := func() (int, error) { return unix.Openat2(root, at, &how) }
	dir, err := hostfs.InTime(func() (dir int, err error) {
		err = u.Do(func() error {
			dir, err = hostfs.Retry(open)
			return err
		})
		return dir, err
	})
	if err != nil {
		return -1, nil, fmt.Errorf("%s in the container %s: %w", at, p.served.Name, err)
	}
	defer unix.Close(dir)
	if u == nil {
		if u, err = ownerOf(dir); err != nil {
			return -1, nil, err
		}
	}
	fd, err = u.ListFrom(dir)
	return fd, u, err
}

// user returns the user that a process runs as; nil for root, and for a process that may act as nobody else.
func (p *process) user() (*hostfs.User, error) {
	status, err := p.read("status", maxStatus)
	if err != nil {
		return nil, err
	}
	uids, gids, groups := statusIDs(status, "Uid"), statusIDs(status, "Gid"), statusIDs(status, "Groups")
	if len(uids) != 4 || len(gids) != 4 {
		return nil, errors.New("the kernel does not tell whose process the container's is")
	}
	if uids[1] == 0 {
		return nil, nil
	}
	u := &hostfs.User{UID: uids[1], GID: gids[1], Groups: []uint32{gids[1]}}
	for _, g := range groups {
		if !slices.Contains(u.Groups, g) {
			u.Groups = append(u.Groups, g)
		}
	}
	return u, nil
}

// statusIDs returns the numbers of a line of a process's status.
func statusIDs(status []byte, name string) (ids []uint32) {
	for line := range strings.Lines(string(status)) {
		rest, ok := strings.CutPrefix(line, name+":")
		if !ok {
			continue
		}
		for _, field := range strings.Fields(rest) {
			n, err := strconv.ParseUint(field, 10, 32)
			if err != nil {
				return nil
			}
			ids = append(ids, uint32(n))
		}
	}
	return ids
}

// ownerOf returns the owner of an open directory; nil for root.
func ownerOf(dir int) (*hostfs.User, error) {
	var st unix.Stat_t
	if err := unix.Fstat(dir, &st); err != nil || st.Uid == 0 {
		return nil, err
	}
	return hostfs.LookupUID(st.Uid, st.Gid)
}
