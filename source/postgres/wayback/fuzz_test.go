package wayback

import (
	"strings"
	"testing"

	"permafrost/source/postgres/archive"
)

// Whatever a dump says of its database, what is taken over consists of whole statements of plain tokens.
func FuzzSettingsSQL(f *testing.F) {
	f.Add("a", `ALTER DATABASE a SET "b.c" TO E'x\\y''\'z', 'd';`)
	f.Add(`my "db"`, `COMMENT ON DATABASE "my ""db""" IS 'a\! id'';';`)
	f.Add("a", "GRANT ALL ON DATABASE a TO x; \\! id")
	f.Fuzz(func(t *testing.T, database, definition string) {
		sql, _ := settingsSQL(&archive.Contents{Archive: archive.Archive{Database: database}, Kept: []archive.Entry{{Kind: "COMMENT", Definition: definition}}})
		taken, ok := strings.CutPrefix(sql, sqlHead)
		if !ok {
			t.Fatalf("the script begins with %q", sql)
		}
		if _, whole := splitStatements(strings.ReplaceAll(taken, restoredName, `"new"`)); !whole {
			t.Errorf("%q", taken)
		}
	})
}
