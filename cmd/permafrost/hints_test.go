package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"permafrost/internal/hint"
	"permafrost/internal/hostfs"
	"permafrost/internal/keeper"
	"permafrost/internal/sftpstore"
	"permafrost/repo"
	"permafrost/repo/keys"
	"permafrost/repo/store"
	"permafrost/source"
	"permafrost/source/media"
)

var update = flag.Bool("update", false, "write docs/errors.md")

const errorsPage = "../../docs/errors.md"

// examples has an error of each kind that the packages below the commands export; nil for one that is never told as it is.
func examples() map[string]error {
	object := "packs/1f/1f40…"
	damage := &store.DamageError{Object: object, Err: errors.New("is missing")}
	ref := repo.SnapshotRef{SnapshotInfo: repo.SnapshotInfo{Date: "2026-06-27"}}
	cause := func(c repo.Cause, text string) error { return &repo.CauseError{Cause: c, Err: errors.New(text)} }
	damaged := func(c repo.Cause, object, text string) error {
		return &repo.CauseError{Cause: c, Err: &store.DamageError{Object: object, Err: errors.New(text)}}
	}
	denied := func(r repo.Right, why string, who ...string) error {
		return &repo.NotAllowedError{Right: r, Why: why, Who: who}
	}
	return map[string]error{
		"repo.ErrNoRepository":     repo.ErrNoRepository,
		"repo.ErrRepositoryExists": repo.ErrRepositoryExists,
		"store.ErrNewerFormat":     store.ErrNewerFormat,
		"repo.ErrPruned":           repo.ErrPruned,
		"repo.ErrNotAllowed":       repo.ErrNotAllowed,
		"store.ErrNoSpace":         store.ErrNoSpace,
		"store.DamageError":        damage,
		"repo.SnapshotError":       &repo.SnapshotError{Ref: ref, Err: damage},
		"repo.ForeignKeyError":     &repo.ForeignKeyError{Key: store.Name{1}, Repository: store.Name{2}},
		"repo.MissingKeyError":     &repo.MissingKeyError{Need: "the owner key: the recovery file", For: "reading content"},
		"repo.NoKeyError":          &keys.NoKeyError{Err: fmt.Errorf("key file writer.key: %w", fs.ErrNotExist)},
		"repo.LockedError":         &repo.LockedError{By: "a snapshot of social.example by web1"},
		"repo.RollbackError":       &repo.RollbackError{Remembered: repo.Head{Seq: 9}, Found: repo.Head{Seq: 7}},
		"store.FalseReportError":   &store.FalseReportError{Object: object, Found: "there is no such object"},
		"repo.StateFileError":      &repo.StateFileError{Path: "/var/lib/permafrost/1f40/journal", Loses: "it holds nothing", Err: errors.New("locking: is a directory")},
		"repo.CauseError":          nil,
		"repo.NotAllowedError":     nil,

		"repo.CauseHiddenEntries":   cause(repo.CauseHiddenEntries, "listing the log: the storage leaves out more than 64 entries that are there"),
		"repo.CauseJunkInLog":       cause(repo.CauseJunkInLog, "reading the log: behind entry 7 the storage has 64 objects and more that are no entries"),
		"repo.CauseTakenNumbers":    cause(repo.CauseTakenNumbers, "publishing log entry 7: 8 times the storage said that the number is taken, and showed no entry there"),
		"repo.CauseNoRoom":          cause(repo.CauseNoRoom, "no space left on the storage"),
		"repo.CauseEmptyLog":        damaged(repo.CauseEmptyLog, "log/", "the log is empty"),
		"repo.CauseLostRoster":      damaged(repo.CauseLostRoster, "log/0000000009", "the list of keys that it set is lost; the list of entry 7 is in use"),
		"repo.CauseLostEpoch":       damaged(repo.CauseLostEpoch, "log/0000000009", "the keys that it announced are lost, and others may still have the older ones"),
		"repo.CauseLogDamaged":      &repo.CauseError{Cause: repo.CauseLogDamaged, Err: fmt.Errorf("refusing to add to a damaged log: %w", damage)},
		"repo.CauseFalseListing":    damaged(repo.CauseFalseListing, "index/1f40…", `it lists pack 1f40 for "a.example", and index/2b7c lists it for "b.example": one of them is false`),
		"repo.CauseHeadUnread":      cause(repo.CauseHeadUnread, "the newest log entry that this machine has seen can't be read: malformed"),
		"repo.CauseOutrun":          &repo.CauseError{Cause: repo.CauseOutrun, Err: &repo.LockedError{By: "others kept adding to the log"}},
		"repo.CauseLogUnsound":      &repo.CauseError{Cause: repo.CauseLogUnsound, Err: fmt.Errorf("refusing to prune with a damaged log: %w", damage)},
		"repo.CauseIndexDamaged":    &repo.CauseError{Cause: repo.CauseIndexDamaged, Err: fmt.Errorf("prune needs the whole index: %w", damage)},
		"repo.CauseIndexMissing":    &repo.CauseError{Cause: repo.CauseIndexMissing, Err: fmt.Errorf("refusing to prune: %w", damage)},
		"repo.CauseManifestMissing": &repo.CauseError{Cause: repo.CauseManifestMissing, Err: fmt.Errorf("refusing to prune: %w", damage)},
		"repo.CauseCopyUnread":      &repo.CauseError{Cause: repo.CauseCopyUnread, Err: fmt.Errorf("refusing to prune: a copy that is to stay can't be read: %w", damage)},
		"repo.CauseSnapshotLacks":   &repo.CauseError{Cause: repo.CauseSnapshotLacks, Err: fmt.Errorf("refusing to prune: %w", &repo.SnapshotError{Ref: ref, Err: damage})},
		"repo.CauseSnapshotUntold":  &repo.CauseError{Cause: repo.CauseSnapshotUntold, Err: fmt.Errorf("refusing to prune: %w", &repo.SnapshotError{Ref: ref, Err: damage})},
		"repo.CauseNameTaken":       cause(repo.CauseNameTaken, `the list of keys has a "web1" already`),
		"repo.CauseNameAbsent":      cause(repo.CauseNameAbsent, `the list of keys has no "web1"`),
		"repo.CauseUnannounced":     cause(repo.CauseUnannounced, "the key file has keys of epoch 3, which the log does not announce"),
		"repo.CauseRotated":         cause(repo.CauseRotated, "another owner rotated the keys meanwhile"),

		"repo.RightAny":      denied(repo.RightAny, "the list of keys does not have it"),
		"repo.RightInstance": denied(repo.RightInstance, "it is for a.example, and this is b.example"),
		"repo.RightForget":   denied(repo.RightForget, "its writer may not forget"),
		"repo.RightPrune":    denied(repo.RightPrune, "the list of keys does not let this writer prune"),
		"repo.RightConfirm":  denied(repo.RightConfirm, "its writer may not confirm", "web1"),

		"source.ReachError":      &source.ReachError{Err: errors.New("reaching the container db-1: connection refused")},
		"media.ErrChanged":       media.ErrChanged,
		"media.ListError":        &media.ListError{Err: errors.New("accounts: permission denied")},
		"media.LeadsOutError":    &media.LeadsOutError{Target: "/srv/media"},
		"sftpstore.UnfitError":   &sftpstore.UnfitError{Why: []string{"it has no hard links"}},
		"hostfs.SharedError":     nil,
		"hostfs.ErrUntrusted":    hostfs.ErrUntrusted,
		"hostfs.ErrNotRegular":   hostfs.ErrNotRegular,
		"hostfs.ErrTooLarge":     hostfs.ErrTooLarge,
		"keeper.SuspectError":    &keeper.SuspectError{Snapshot: store.Name{0x99}, Text: "it has 1 media file (not counting the cache), where snapshot 1f40ab12 has 12,000"},
		"keeper.InitError":       &keeper.InitError{Made: true, Files: []string{"recovery.key", "writer.key"}, Err: errors.New("publishing log entry 0: connection lost")},
		"keeper.IDError":         &keeper.IDError{Err: errors.New("no snapshot's ID begins with latest")},
		"keeper.ErrNotSuspect":   fmt.Errorf("snapshot 99000000 %w", keeper.ErrNotSuspect),
		"keeper.ErrNotConfirmed": fmt.Errorf("snapshot 99000000 %w", keeper.ErrNotConfirmed),
		"wire.ErrTruncated":      nil,
		"syscall.EROFS":          syscall.EROFS,
	}
}

// hintless are the errors that have no hint by their kind, and why.
func hintless() map[string]string {
	return map[string]string{
		"repo.ErrPruned":         "the command runs once more by itself",
		"repo.ErrNotAllowed":     "a NotAllowedError says more",
		"store.DamageError":      "it depends on the command",
		"repo.SnapshotError":     "it depends on the command",
		"repo.ForeignKeyError":   "the command names the key file",
		"repo.MissingKeyError":   "the command names the key file",
		"repo.NoKeyError":        "it is given where the file is read",
		"repo.LockedError":       "it says who is at work; --retry-lock waits",
		"repo.CauseError":        "its cause has one",
		"repo.NotAllowedError":   "its right has one",
		"source.ReachError":      "it is given where the container is looked for",
		"media.ErrChanged":       "the file is left out and named",
		"media.ListError":        "the directory is left out and named",
		"media.LeadsOutError":    "the file is left out and named",
		"sftpstore.UnfitError":   "it is given where the server is tried",
		"hostfs.SharedError":     "it is given where the directory is opened",
		"hostfs.ErrUntrusted":    "it is given where the file is read",
		"hostfs.ErrNotRegular":   "it is given where the file is read",
		"hostfs.ErrTooLarge":     "it is given where the file is read",
		"keeper.ErrNotConfirmed": "there is nothing to do",
		"wire.ErrTruncated":      "it never stands alone",
	}
}

// Each error that the packages below the commands export has a hint, or a reason to have none.
func TestEveryErrorHasAHint(t *testing.T) {
	examples, hintless := examples(), hintless()
	for _, name := range exportedErrors(t) {
		err, ok := examples[name]
		if !ok {
			t.Errorf("%s has no example", name)
			continue
		}
		switch _, none := hintless[name]; {
		case lastHint(err) == "" && !none:
			t.Errorf("%s has no hint", name)
		case lastHint(err) != "" && none:
			t.Errorf("%s has a hint, and is among those that have none", name)
		}
	}
}

// A hint that was given where an error arose goes before one by its kind; of several that are joined the first counts.
func TestHintOrder(t *testing.T) {
	inner := fmt.Errorf("a: %w", repo.ErrNoRepository)
	for _, c := range []struct {
		err  error
		want string
	}{
		{nil, ""},
		{errors.New("x"), ""},
		{inner, "check the repository's address; `permafrost init` makes a new one"},
		{hint.Wrap(inner, "mine"), "mine"},
		{hint.Wrap(errors.Join(errors.New("x"), inner), "mine"), "mine"},
		{errors.Join(errors.New("x"), inner), "check the repository's address; `permafrost init` makes a new one"},
		{&repo.CauseError{Cause: repo.CauseLogDamaged, Err: &repo.CauseError{Cause: repo.CauseLostEpoch, Err: inner}}, "`permafrost key rotate` with the newest recovery file"},
	} {
		if got := hintFor(c.err); got != c.want {
			t.Errorf("%v: %q, want %q", c.err, got, c.want)
		}
	}
}

// docs/errors.md has each error and its hint, as the program tells them.
func TestErrorsAreDocumented(t *testing.T) {
	var out bytes.Buffer
	out.WriteString(`# Errors and hints

The errors that the packages below the commands name, each by an example, with the exit code and the hint that permafrost
tells with it. Where a command says more, its hint goes first.

Made of the table in cmd/permafrost/hints.go by ` + "`go test ./cmd/permafrost -run TestErrorsAreDocumented -update`" + `.

| error | exit code | hint |
|---|---|---|
`)
	examples := examples()
	cell := strings.NewReplacer("|", `\|`, "\n", " ")
	for _, name := range slices.Sorted(maps.Keys(examples)) {
		err := examples[name]
		if err == nil {
			continue
		}
		h := lastHint(err)
		if h == "" {
			h = "(" + hintless()[name] + ")"
		}
		fmt.Fprintf(&out, "| %s | %d | %s |\n", cell.Replace(err.Error()), exitCode(err), cell.Replace(h))
	}
	if *update {
		if err := os.WriteFile(errorsPage, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if have, err := os.ReadFile(errorsPage); err != nil || !bytes.Equal(have, out.Bytes()) {
		t.Errorf("%s is not what the table says (%v): run this test with -update", errorsPage, err)
	}
}

// exportedErrors returns the names of all error types, error values, causes and rights that packages below the commands export.
func exportedErrors(t *testing.T) (names []string) {
	for _, top := range []string{"chunk", "repo", "snapshot", "source", "internal"} {
		err := filepath.WalkDir("../../"+top, func(path string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case d.IsDir() && slices.Contains(strings.Fields("sandbox storetest testdata"), d.Name()):
				return fs.SkipDir
			case !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
				return nil
			}
			f, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
			if err == nil {
				for _, name := range errorsIn(f) {
					names = append(names, f.Name.Name+"."+name)
				}
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(names) < 30 {
		t.Fatalf("only %d errors", len(names))
	}
	return names
}

// errorsIn returns the errors that a file exports.
func errorsIn(f *ast.File) (names []string) {
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Recv != nil && d.Name.Name == "Error" {
				recv := d.Recv.List[0].Type
				if star, ok := recv.(*ast.StarExpr); ok {
					recv = star.X
				}
				if id, ok := recv.(*ast.Ident); ok && id.IsExported() {
					names = append(names, id.Name)
				}
			}
		case *ast.GenDecl:
			for _, s := range d.Specs {
				v, ok := s.(*ast.ValueSpec)
				if !ok {
					continue
				}
				kind, _ := v.Type.(*ast.Ident)
				for _, id := range v.Names {
					if strings.HasPrefix(id.Name, "Err") && d.Tok == token.VAR || kind != nil && (kind.Name == "Cause" || kind.Name == "Right") {
						names = append(names, id.Name)
					}
				}
			}
		}
	}
	return names
}
