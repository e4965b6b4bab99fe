// Package layout holds the house to its plan: imports run one way, and each foreign library stays in the one place
// that is its own.
package layout

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

type pkg struct {
	ImportPath string
	Imports    []string
}

func packages(t *testing.T) []pkg {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", "permafrost/...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []pkg
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	if len(all) < 10 {
		t.Fatalf("go list knows only %d packages", len(all))
	}
	return all
}

// may says what of this project each package may import; a trailing "/..." stands for all below.
var may = []struct {
	pkg     string
	imports []string
}{
	{"permafrost/internal/sandbox/...", []string{"permafrost/internal/sandbox/..."}},
	{"permafrost/internal/layout", nil},
	{"permafrost/internal/hint", nil},
	{"permafrost/internal/units", nil},
	{"permafrost/internal/escape", nil},
	{"permafrost/internal/hostile", nil},
	{"permafrost/internal/fuzzing", nil},
	{"permafrost/internal/wire", nil},
	{"permafrost/internal/freelist", nil},
	{"permafrost/internal/parts", nil},
	{"permafrost/internal/durable", []string{"permafrost/internal/hostfs"}},
	{"permafrost/internal/hostfs", nil},
	{"permafrost/internal/localdir", []string{"permafrost/internal/durable", "permafrost/internal/hint", "permafrost/internal/hostfs"}},
	{"permafrost/chunk", nil},
	{"permafrost/repo/store", []string{"permafrost/internal/parts"}},
	{"permafrost/repo/keys", []string{"permafrost/chunk", "permafrost/repo/cause", "permafrost/internal/hostfs", "permafrost/repo/store"}},
	{"permafrost/repo/cause", nil},
	{"permafrost/repo/ledger", []string{"permafrost/internal/wire", "permafrost/repo/cause", "permafrost/repo/keys", "permafrost/repo/store"}},
	{"permafrost/repo/internal/pack", []string{"permafrost/chunk", "permafrost/internal/freelist", "permafrost/internal/parts", "permafrost/internal/wire", "permafrost/repo/keys", "permafrost/repo/store"}},
	{"permafrost/repo/keys/keystest", []string{"permafrost/repo/keys"}},
	{"permafrost/repo/internal/pack/packtest", []string{"permafrost/repo/internal/pack"}},
	{"permafrost/repo/internal/machine", []string{"permafrost/internal/localdir", "permafrost/internal/wire", "permafrost/repo/internal/pack", "permafrost/repo/store"}},
	{"permafrost/repo/internal/index", []string{"permafrost/chunk", "permafrost/internal/localdir", "permafrost/internal/wire", "permafrost/repo/internal/pack", "permafrost/repo/keys", "permafrost/repo/ledger", "permafrost/repo/store"}},
	{"permafrost/repo/internal/blobs", []string{"permafrost/chunk", "permafrost/repo/internal/index", "permafrost/repo/internal/pack", "permafrost/repo/keys", "permafrost/repo/store"}},
	{"permafrost/repo/internal/logbook", []string{"permafrost/repo/cause", "permafrost/repo/internal/machine", "permafrost/repo/keys", "permafrost/repo/ledger", "permafrost/repo/store"}},
	{"permafrost/repo/lease", []string{"permafrost/repo/internal/logbook", "permafrost/repo/keys", "permafrost/repo/store"}},
	{"permafrost/repo/internal/core", []string{"permafrost/chunk", "permafrost/internal/hint", "permafrost/repo/internal/index", "permafrost/repo/internal/logbook", "permafrost/repo/internal/machine", "permafrost/repo/internal/pack", "permafrost/repo/keys", "permafrost/repo/lease", "permafrost/repo/ledger", "permafrost/repo/store"}},
	{"permafrost/repo", []string{"permafrost/chunk", "permafrost/internal/localdir", "permafrost/repo/cause", "permafrost/repo/internal/blobs", "permafrost/repo/internal/core", "permafrost/repo/internal/index", "permafrost/repo/internal/logbook", "permafrost/repo/internal/machine", "permafrost/repo/internal/pack", "permafrost/repo/keys", "permafrost/repo/lease", "permafrost/repo/ledger", "permafrost/repo/store"}},
	{"permafrost/repo/internal/headers", []string{"permafrost/repo", "permafrost/repo/cause", "permafrost/repo/internal/blobs", "permafrost/repo/internal/core", "permafrost/repo/internal/index", "permafrost/repo/internal/pack", "permafrost/repo/keys", "permafrost/repo/ledger", "permafrost/repo/store"}},
	{"permafrost/repo/inspection", []string{"permafrost/chunk", "permafrost/internal/escape", "permafrost/repo", "permafrost/repo/internal/blobs", "permafrost/repo/internal/core", "permafrost/repo/internal/index", "permafrost/repo/ledger", "permafrost/repo/store"}},
	{"permafrost/repo/upkeep", []string{"permafrost/chunk", "permafrost/internal/wire", "permafrost/repo", "permafrost/repo/cause", "permafrost/repo/inspection", "permafrost/repo/internal/blobs", "permafrost/repo/internal/core", "permafrost/repo/internal/headers", "permafrost/repo/internal/index", "permafrost/repo/internal/logbook", "permafrost/repo/internal/machine", "permafrost/repo/internal/pack", "permafrost/repo/keys", "permafrost/repo/lease", "permafrost/repo/ledger", "permafrost/repo/store"}},
	{"permafrost/repo/scrub", []string{"permafrost/repo/store"}},
	{"permafrost/internal/dirstore", storeImports},
	{"permafrost/internal/sshconn", []string{"permafrost/internal/hostfs"}},
	{"permafrost/internal/sftpstore", []string{"permafrost/repo/store", "permafrost/internal/sshconn", "permafrost/internal/hint", "permafrost/internal/parts"}},
	{"permafrost/internal/storetest", storeImports},
	{"permafrost/internal/sftpserver", []string{"permafrost/repo/store", "permafrost/internal/wire"}},
	{"permafrost/source/way", []string{"permafrost/internal/escape"}},
	{"permafrost/source", []string{"permafrost/internal/hint", "permafrost/internal/hostfs"}},
	{"permafrost/source/postgres/quote", nil},
	{"permafrost/source/postgres/archive", []string{"permafrost/internal/hint", "permafrost/source/postgres/quote"}},
	{"permafrost/source/postgres", []string{"permafrost/source", "permafrost/source/postgres/archive", "permafrost/internal/hint", "permafrost/internal/hostfs"}},
	{"permafrost/source/postgres/wayback", []string{"permafrost/source", "permafrost/source/postgres", "permafrost/source/postgres/archive", "permafrost/source/postgres/quote", "permafrost/source/way"}},
	{"permafrost/source/media/pattern", nil},
	{"permafrost/source/media", []string{"permafrost/source", "permafrost/source/way", "permafrost/source/media/pattern", "permafrost/internal/hint", "permafrost/internal/hostfs", "permafrost/internal/durable", "permafrost/internal/escape"}},
	{"permafrost/source/...", []string{"permafrost/source", "permafrost/source/way", "permafrost/internal/hint", "permafrost/internal/hostfs", "permafrost/internal/durable", "permafrost/internal/escape"}},
	{"permafrost/internal/snaptest", []string{"permafrost/chunk", "permafrost/repo", "permafrost/repo/keys", "permafrost/repo/lease", "permafrost/repo/ledger", "permafrost/repo/inspection", "permafrost/repo/scrub", "permafrost/repo/store", "permafrost/repo/upkeep", "permafrost/source/...", "permafrost/internal/..."}},
	{"permafrost/snapshot/internal/blobtree", []string{"permafrost/chunk", "permafrost/source", "permafrost/internal/wire"}},
	{"permafrost/snapshot/stream", []string{"permafrost/chunk", "permafrost/repo/inspection", "permafrost/repo/scrub", "permafrost/repo/store", "permafrost/repo/upkeep", "permafrost/snapshot/internal/blobtree", "permafrost/internal/wire"}},
	{"permafrost/snapshot", []string{"permafrost/chunk", "permafrost/snapshot/stream", "permafrost/snapshot/internal/blobtree", "permafrost/repo", "permafrost/repo/keys", "permafrost/repo/lease", "permafrost/repo/ledger", "permafrost/repo/inspection", "permafrost/repo/scrub", "permafrost/repo/store", "permafrost/repo/upkeep", "permafrost/source/...", "permafrost/internal/escape", "permafrost/internal/hint", "permafrost/internal/wire"}},
	{"permafrost/snapshot/backup", []string{"permafrost/chunk", "permafrost/snapshot", "permafrost/snapshot/stream", "permafrost/repo", "permafrost/repo/keys", "permafrost/repo/lease", "permafrost/repo/ledger", "permafrost/repo/inspection", "permafrost/repo/scrub", "permafrost/repo/store", "permafrost/repo/upkeep", "permafrost/source/...", "permafrost/internal/escape", "permafrost/internal/freelist", "permafrost/internal/hint", "permafrost/internal/localdir"}},
	{"permafrost/snapshot/retain", []string{"permafrost/repo", "permafrost/repo/ledger", "permafrost/repo/keys", "permafrost/repo/inspection", "permafrost/repo/scrub", "permafrost/repo/store", "permafrost/repo/upkeep", "permafrost/repo/cause"}},
	{"permafrost/snapshot/restore/internal/choice", []string{"permafrost/source/media/pattern"}},
	{"permafrost/snapshot/restore/internal/sums", nil},
	{"permafrost/snapshot/restore/internal/fault", []string{"permafrost/repo/store"}},
	{"permafrost/snapshot/restore/internal/resume", []string{"permafrost/chunk", "permafrost/snapshot", "permafrost/snapshot/stream", "permafrost/snapshot/restore/internal/fault", "permafrost/internal/durable"}},
	{"permafrost/snapshot/restore/internal/tree", []string{"permafrost/chunk", "permafrost/repo/store", "permafrost/snapshot", "permafrost/snapshot/stream", "permafrost/snapshot/restore/internal/...", "permafrost/source", "permafrost/source/media"}},
	{"permafrost/snapshot/restore", []string{"permafrost/chunk", "permafrost/snapshot", "permafrost/snapshot/stream", "permafrost/snapshot/restore/internal/...", "permafrost/repo", "permafrost/repo/lease", "permafrost/repo/ledger", "permafrost/repo/inspection", "permafrost/repo/scrub", "permafrost/repo/store", "permafrost/repo/upkeep", "permafrost/source/...", "permafrost/internal/durable", "permafrost/internal/escape", "permafrost/internal/hint", "permafrost/internal/hostfs"}},
	{"permafrost/internal/keeper", []string{"permafrost/repo", "permafrost/repo/cause", "permafrost/repo/keys", "permafrost/repo/lease", "permafrost/repo/ledger", "permafrost/repo/inspection", "permafrost/repo/scrub", "permafrost/repo/store", "permafrost/repo/upkeep", "permafrost/snapshot/...", "permafrost/source/...", "permafrost/internal/escape", "permafrost/internal/hint", "permafrost/internal/hostfs", "permafrost/internal/units"}},
	{"permafrost/cmd/permafrost/internal/report", []string{"permafrost/cmd/permafrost/internal/console", "permafrost/cmd/permafrost/internal/hints", "permafrost/internal/escape", "permafrost/internal/keeper", "permafrost/internal/units", "permafrost/snapshot", "permafrost/snapshot/retain", "permafrost/source", "permafrost/source/postgres/archive"}},
	{"permafrost/cmd/permafrost/internal/typo", nil},
	{"permafrost/cmd/permafrost/internal/usage", nil},
	{"permafrost/cmd/permafrost/internal/process", nil},
	{"permafrost/cmd/permafrost/internal/value", []string{"permafrost/cmd/permafrost/internal/usage", "permafrost/internal/units", "permafrost/repo/ledger", "permafrost/repo/upkeep", "permafrost/snapshot/restore", "permafrost/snapshot/retain", "permafrost/source/media/pattern"}},
	{"permafrost/cmd/permafrost/internal/config", []string{"permafrost/cmd/permafrost/internal/typo", "permafrost/internal/escape", "permafrost/internal/hint", "permafrost/internal/hostfs"}},
	{"permafrost/cmd/permafrost/internal/place", []string{"permafrost/cmd/permafrost/internal/config", "permafrost/cmd/permafrost/internal/usage", "permafrost/internal/dirstore", "permafrost/internal/escape", "permafrost/internal/hint", "permafrost/internal/sftpstore", "permafrost/repo/store"}},
	{"permafrost/cmd/permafrost/internal/console", []string{"permafrost/internal/escape", "permafrost/internal/hint", "permafrost/internal/keeper", "permafrost/internal/units", "permafrost/repo/keys"}},
	{"permafrost/cmd/permafrost/internal/hints", []string{"permafrost/internal/dirstore", "permafrost/internal/escape", "permafrost/internal/keeper", "permafrost/internal/localdir", "permafrost/internal/sftpstore", "permafrost/internal/sshconn", "permafrost/repo", "permafrost/repo/cause", "permafrost/repo/keys", "permafrost/repo/ledger", "permafrost/repo/store", "permafrost/snapshot", "permafrost/snapshot/backup", "permafrost/snapshot/restore", "permafrost/source/..."}},
	{"permafrost/cmd/permafrost", []string{"permafrost/cmd/permafrost/internal/...",
		"permafrost/repo", "permafrost/repo/keys", "permafrost/repo/lease", "permafrost/repo/ledger", "permafrost/repo/store", "permafrost/repo/upkeep", "permafrost/snapshot", "permafrost/snapshot/backup", "permafrost/snapshot/restore", "permafrost/snapshot/retain", "permafrost/source/...",
		"permafrost/internal/escape", "permafrost/internal/hint", "permafrost/internal/keeper", "permafrost/internal/localdir", "permafrost/internal/sftpserver", "permafrost/internal/sftpstore", "permafrost/internal/units"}},
}

var storeImports = []string{"permafrost/repo/store", "permafrost/internal/durable", "permafrost/internal/hint", "permafrost/internal/parts"}

func within(path, pattern string) bool {
	if base, ok := strings.CutSuffix(pattern, "/..."); ok {
		return path == base || strings.HasPrefix(path, base+"/")
	}
	return path == pattern
}

func TestImportsRunOneWay(t *testing.T) {
	for _, p := range packages(t) {
		i := slices.IndexFunc(may, func(m struct {
			pkg     string
			imports []string
		}) bool {
			return within(p.ImportPath, m.pkg)
		})
		if i < 0 {
			t.Errorf("%s has no place in the plan", p.ImportPath)
			continue
		}
		for _, imp := range p.Imports {
			if !within(imp, "permafrost/...") {
				continue
			}
			if !slices.ContainsFunc(may[i].imports, func(m string) bool { return within(imp, m) }) {
				t.Errorf("%s imports %s", p.ImportPath, imp)
			}
		}
	}
}

// home says where a foreign library may be imported.
var home = map[string][]string{
	"github.com/jackc/pgx/v5":          {"permafrost/source/postgres"},
	"github.com/redis/go-redis/v9":     {"permafrost/source/redis"},
	"github.com/pkg/sftp":              {"permafrost/internal/sftpstore"},
	"golang.org/x/crypto/ssh":          {"permafrost/internal/sshconn", "permafrost/repo/keys"},
	"golang.org/x/text":                {"permafrost/source/postgres/wayback"},
	"github.com/kevinburke/ssh_config": {"permafrost/internal/sshconn"},
	"github.com/restic/chunker":        {"permafrost/chunk"},
	"github.com/zeebo/blake3":          {"permafrost/chunk"},
	"filippo.io/age":                   {"permafrost/repo", "permafrost/repo/upkeep", "permafrost/repo/internal/headers", "permafrost/repo/keys", "permafrost/repo/internal/pack", "permafrost/repo/internal/blobs", "permafrost/repo/internal/logbook", "permafrost/internal/keeper", "permafrost/cmd/permafrost/internal/console"},
	"github.com/klauspost/compress":    {"permafrost/internal/fuzzing", "permafrost/repo/internal/core", "permafrost/repo/internal/pack", "permafrost/snapshot"},
	"github.com/spf13/cobra":           {"permafrost/cmd/permafrost"},
	"github.com/vbauerster/mpb/v8":     {"permafrost/cmd/permafrost/internal/console"},
	"github.com/BurntSushi/toml":       {"permafrost/cmd/permafrost/internal/config"},
}

func TestLibrariesStayHome(t *testing.T) {
	for _, p := range packages(t) {
		for _, imp := range p.Imports {
			for lib, homes := range home {
				if within(imp, lib+"/...") && !slices.Contains(homes, p.ImportPath) && !within(p.ImportPath, "permafrost/internal/sandbox/...") {
					t.Errorf("%s imports %s, whose home is %v", p.ImportPath, imp, homes)
				}
			}
		}
	}
}
