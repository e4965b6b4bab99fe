package sandbox

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// initdbOptions say what a fresh cluster is like. Its role gets its password when the server runs.
var initdbOptions = []string{"--username=mastodon", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions"}

// initCluster fills the empty directory of a cluster's data.
//
// initdb takes ten times as long as to copy what it makes. So a machine keeps what one initdb has made in its temporary directory,
// for each version, user and set of options: an archive, which is whole or not there. Clusters that are copies have one system identifier. That
// tells a cluster's own replicas from strangers, and nothing here makes a replica but by a copy.
func (p *Postgres) initCluster(ctx context.Context) error {
	name, err := p.template(ctx)
	if err != nil {
		return err
	}
	if isOwn(name) {
		return runTar(ctx, "-C", p.data(), "-xpf", name)
	}
	args := append([]string{"-D", p.data()}, initdbOptions...)
	if out, err := p.command(ctx, "initdb", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, out)
	}
	return p.keepTemplate(ctx, name)
}

// template names the archive of a fresh cluster.
func (p *Postgres) template(ctx context.Context) (string, error) {
	version, err := p.command(ctx, "initdb", "--version").Output()
	if err != nil {
		return "", fmt.Errorf("initdb --version: %w", err)
	}
	sum := sha256.Sum256([]byte(string(version) + p.BinDir + "\n" + p.OSUser + "\n" + strings.Join(initdbOptions, "\n")))
	return filepath.Join(os.TempDir(), fmt.Sprintf("permafrost-cluster-%d-%x.tar", os.Geteuid(), sum[:8])), nil
}

// isOwn reports whether a file is there that this process's user made, and nobody else can have changed.
func isOwn(name string) bool {
	fi, err := os.Lstat(name)
	if err != nil {
		return false
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	return ok && fi.Mode() == 0o600 && int(st.Uid) == os.Geteuid()
}

// keepTemplate archives a cluster that is fresh and was never started, under a name that appears at once.
func (p *Postgres) keepTemplate(ctx context.Context, name string) error {
	f, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if err := f.Close(); err != nil {
		return err
	}
	if err := runTar(ctx, "-C", p.data(), "-cf", f.Name(), "."); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}

func runTar(ctx context.Context, args ...string) error {
	if out, err := exec.CommandContext(ctx, "tar", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("tar: %w: %s", err, out)
	}
	return nil
}
