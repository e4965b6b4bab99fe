package snapshot

import (
	"context"
	"fmt"
	"io"
	"path"
	"strings"

	"permafrost/internal/hint"
	"permafrost/repo"
	"permafrost/source"
)

// Dump writes one part of a snapshot to w: "postgres", "redis", "sidekiq", "secrets" (.env.production), "secrets/" and
// the path or the base name of a further file, or "media/" and a path. A stream's SHA-256 is known only at its end: an
// error then says that what was written is not to be used.
func Dump(ctx context.Context, r *repo.Repo, m *Manifest, what string, w io.Writer) error {
	rd, err := newReader(ctx, r, m.Instance)
	if err != nil {
		return err
	}
	told := func(int64) {}
	stream := func(c repo.Component, s *Stream) error {
		if err := m.Lacks(r.Snapshots(), what); err != nil && c != repo.Secrets {
			return err
		}
		if err := copyStream(ctx, rd, c, s, w, told); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		return nil
	}
	part, rest, _ := strings.Cut(what, "/")
	switch {
	case what == "postgres":
		return stream(repo.Postgres, &m.Postgres.Stream)
	case what == "redis":
		return stream(repo.Redis, &m.Redis.Stream)
	case what == "sidekiq" && m.Sidekiq != nil:
		return stream(repo.Redis, &m.Sidekiq.Stream)
	case what == "sidekiq" && m.Redis.State == Skipped:
		return m.Lacks(r.Snapshots(), "redis")
	case what == "sidekiq":
		return hint.Wrap(fmt.Errorf("the snapshot has no Redis of Sidekiq's own"), "its queues are in the dump of redis")
	case part == "secrets":
		if err := m.Lacks(r.Snapshots(), "secrets"); err != nil && len(m.Secrets.Files) == 0 {
			return err
		}
		f, err := m.secret(rest)
		if err != nil {
			return err
		}
		return stream(repo.Secrets, &f.Stream)
	case part == "media" && rest != "":
		if err := m.Lacks(r.Snapshots(), "media"); err != nil {
			return err
		}
		e, err := fileAt(ctx, rd, m, rest)
		if err != nil {
			return err
		}
		if err := writeStream(ctx, rd, repo.Media, e.Content.chunks(ctx, rd), w, told); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		return nil
	}
	return fmt.Errorf("%q is no part of a snapshot: there are postgres, redis, sidekiq, secrets, secrets/NAME and media/PATH", what)
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
	return nil, hint.Wrap(fmt.Errorf("the snapshot has %d secrets named %q", len(found), name), "give the whole path")
}

// fileAt returns the regular file at a path of the media, its first name where it is a hard link.
func fileAt(ctx context.Context, get BlobGetter, m *Manifest, p string) (*Entry, error) {
	if m.Media.State != Captured {
		return nil, fmt.Errorf("the media are not in the snapshot: they are in the %s bucket %q", m.Media.External.Kind, m.Media.External.Bucket)
	}
	for e, err := range Entries(ctx, get, m, path.Clean(p)) {
		switch {
		case err != nil:
			return nil, err
		case e.Path != path.Clean(p):
		case e.Link != "":
			return fileAt(ctx, get, m, e.Link)
		case e.Type != source.File:
			return nil, fmt.Errorf("media/%s is not a regular file", p)
		default:
			return e, nil
		}
		break
	}
	return nil, fmt.Errorf("the snapshot has no media/%s", p)
}
