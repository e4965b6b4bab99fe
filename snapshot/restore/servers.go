package restore

import (
	"errors"
	"io/fs"
	"path"

	"permafrost/snapshot"
	"permafrost/source/postgres/archive"
	"permafrost/source/postgres/wayback"
	"permafrost/source/redis"
	"permafrost/source/way"
)

func (p *Plan) postgres() ([]way.Part, error) {
	m := p.restored.Manifest
	if m.Postgres.State != snapshot.Captured {
		return nil, nil
	}
	toc, err := p.head(dumpFile(m), archive.TOC)
	if errors.Is(err, fs.ErrNotExist) { // it was damaged, which is told elsewhere
		return []way.Part{{Name: "PostgreSQL", Text: "**The database's dump is not here: it could not be restored.** Take it from another snapshot."}}, nil
	}
	if err != nil {
		return nil, err
	}
	part, err := wayback.Of(wayback.Saved{
		ID: p.restored.Ref.ID.Short(), Time: p.restored.Begun, Database: m.Postgres.Database, User: m.Postgres.User, Facts: m.Postgres.Server, Dump: m.Postgres.Dump,
		DumpFile: dumpFile(m), TOC: toc, OSUser: p.user(), EnvFile: p.settings(), Deployment: m.Deployment,
	})
	return []way.Part{part}, err
}

func (p *Plan) redis() (parts []way.Part, err error) {
	m := p.restored.Manifest
	for name, r := range m.Redises {
		if r.State == snapshot.Captured {
			parts = append(parts, redis.WayBack(redis.Saved{Name: name, Facts: r.Server, Dump: r.Dump, File: redisFile(name),
				EnvFile: p.settings(), Deployment: m.Deployment}))
		}
	}
	return parts, nil
}

// settings returns the path of the settings: the restored ones, or those of the instance where they were not restored.
func (p *Plan) settings() string {
	m := p.restored.Manifest
	if p.restored.Components["secrets"] && len(m.Secrets.Files) > 0 {
		return path.Join(p.restored.Target, secretName(m, 0))
	}
	return path.Join(string(m.Live), ".env.production")
}
