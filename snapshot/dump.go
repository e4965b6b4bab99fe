package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	"permafrost/repo"
	"permafrost/repo/ledger"
	"permafrost/source"
)

// Dump writes one part of a snapshot to w: "postgres", "redis", "sidekiq", "secrets" (.env.production), "secrets/" and
// the path or the base name of a further file, or "media/" and a path. A stream's SHA-256 is known only at its end: an
// error then says that what was written is not to be used.
func Dump(ctx context.Context, r *repo.Repo, m *Manifest, what string, w io.Writer) error {
	t, err := OpenTree(ctx, r, m)
	if err != nil {
		return err
	}
	n, err := t.part(r.Snapshots(), what)
	if err != nil {
		return err
	}
	f, err := t.file(n)
	if err == nil {
		_, err = f.WriteTo(w)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// part returns the node that a name means to Dump. One that the snapshot lacks is an error that names another snapshot, of refs.
func (t *Tree) part(refs []ledger.SnapshotRef, what string) (*Node, error) {
	m := t.m
	top, rest, below := strings.Cut(what, "/")
	lacks := m.Lacks(refs, top)
	switch {
	case what == "sidekiq" && m.Sidekiq == nil && m.Redis.State == Skipped:
		return nil, m.Lacks(refs, "redis")
	case what == "sidekiq" && m.Sidekiq == nil:
		return nil, source.Because(CauseNoSidekiq, errors.New("the snapshot has no Redis of Sidekiq's own"))
	case top == secretsTop && (lacks == nil || len(m.Secrets.Files) > 0):
		f, err := m.secret(rest)
		if err != nil {
			return nil, err
		}
		return t.secretNode(f), nil
	case what == postgresTop || what == "redis" || what == "sidekiq" || top == mediaTop && below && rest != "":
		if lacks != nil {
			return nil, lacks
		}
		if below {
			return t.mediaFile(path.Clean(rest))
		}
		return t.find(what)
	case lacks != nil && top == secretsTop:
		return nil, lacks
	}
	return nil, fmt.Errorf("%q is no part of a snapshot: there are postgres, redis, sidekiq, secrets, secrets/NAME and media/PATH", what)
}

// secretNode returns the node of a secret, whatever other secrets are called.
func (t *Tree) secretNode(f *SecretFile) *Node {
	for n := range t.streams() {
		if n.stream == &f.Stream {
			return n
		}
	}
	return nil // never: f is one of the manifest's
}

// mediaFile returns the node of a regular file of the media.
func (t *Tree) mediaFile(name string) (*Node, error) {
	if x := t.m.Media.External; x != nil {
		return nil, fmt.Errorf("the media are not in the snapshot: they are in the %s bucket %q", x.Kind, x.Bucket)
	}
	e, err := t.entry(name)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !isDamage(err):
		return nil, fmt.Errorf("the snapshot has no media/%s", name)
	case err != nil:
		return nil, err
	case e.Type != source.File:
		return nil, fmt.Errorf("media/%s is not a regular file", name)
	}
	return mediaNode(e), nil
}

// secret returns the file of a path, or of a base name that only one has; "" is .env.production.
func (m *Manifest) secret(name string) (*SecretFile, error) {
	var found []*SecretFile
	for i := range m.Secrets.Files {
		f := &m.Secrets.Files[i]
		if p := string(f.Path); name == "" || strings.TrimPrefix(name, "/") == p[1:] {
			return f, nil
		} else if path.Base(p) == name {
			found = append(found, f)
		}
	}
	switch len(found) {
	case 0:
		return nil, fmt.Errorf("the snapshot has no secret %q", name)
	case 1:
		return found[0], nil
	}
	return nil, source.Because(CauseSeveralSecrets, fmt.Errorf("the snapshot has %d secrets named %q", len(found), name))
}
