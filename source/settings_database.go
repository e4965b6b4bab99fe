package source

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"permafrost/internal/hostfs"
)

// LoadDatabase reads from a settings file how Mastodon reaches its database, the password among it. Where the file is called
// .env.production, those beside it that Mastodon loads count as well. A process of root reads each with the rights of the user who
// decides what is there.
func LoadDatabase(file string) (Database, error) {
	env, err := loadEnviron(file)
	if err != nil {
		return Database{}, err
	}
	db, err := env.database("", &PostgresAddress{}, "PRIMARY_DATABASE_URL", "DATABASE_URL")
	if err == nil {
		err = env.err
	}
	return db, err
}

// loadEnviron reads a settings file, and where it is called .env.production those beside it that Mastodon loads.
func loadEnviron(file string) (*environ, error) {
	names := []string{filepath.Base(file)}
	if names[0] == settingsName {
		names = settingsNames()
	}
	dir, err := filepath.Abs(filepath.Dir(file))
	if err != nil {
		return nil, err
	}
	env := newEnviron()
	for _, name := range names {
		data, _, err := hostfs.ReadFile(filepath.Join(dir, name), maxEnv)
		if errors.Is(err, fs.ErrNotExist) && name != filepath.Base(file) {
			continue
		}
		if err == nil {
			err = env.parse(name, data)
		}
		if err != nil {
			return nil, Because(CauseRestoredSettings, fmt.Errorf("reading the settings: %w", err))
		}
	}
	return env, nil
}
