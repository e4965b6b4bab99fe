package sandbox

import (
	"os"
	"path/filepath"
	"time"
)

// Version is the version of Mastodon that the instance says to be.
const Version = "4.3.1"

// newestMigration is the last one of migrationRows.
func newestMigration() string {
	return firstMigration.AddDate(0, 0, 7*(migrations-1)).Format(migrationForm)
}

const (
	migrations    = 480
	migrationForm = "20060102150405"
)

var firstMigration = time.Date(2016, 2, 20, 17, 45, 0, 0, time.UTC)

// writeCode writes what a backup and a restore look at of Mastodon's own files. Its command notes what it was called with, in log/tootctl.
func (i *Instance) writeCode() error {
	for name, text := range map[string]string{
		"lib/mastodon/version.rb":                      "def major\n  4\nend\ndef minor\n  3\nend\ndef patch\n  1\nend\n",
		"db/migrate/" + newestMigration() + "_last.rb": "# a migration\n",
		"bin/tootctl": "#!/bin/sh\nmkdir -p log && echo \"$RAILS_ENV $*\" >>log/tootctl\n",
	} {
		path := filepath.Join(i.Live, name)
		for _, dir := range []string{filepath.Dir(filepath.Dir(path)), filepath.Dir(path)} {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return err
			}
			if err := os.Chown(dir, i.tree.uid, i.tree.gid); err != nil {
				return err
			}
		}
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			return err
		}
		if err := os.Chown(path, i.tree.uid, i.tree.gid); err != nil {
			return err
		}
	}
	return nil
}
