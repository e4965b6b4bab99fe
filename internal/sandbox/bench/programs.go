package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// A program is a backup program, as scripts: bash's, run in a directory of the program's own. $NIGHT is the night's
// number, $TARGET where to restore to, $SYSTEM the media, $DB the database, $REPO the repository's path on the server,
// $SSH the ssh command that reaches it.
type program struct {
	name    string
	binary  string // of permafrost, or of an earlier one
	mirror  bool   // keeps a plain copy and no history: shown, and not what permafrost is measured by
	env     []string
	init    string
	night   string
	check   string
	restore string
	forget  string // all but the last night
}

const dump = `pg_dump -Fc -Z0 "$DB"`

// programs returns those that are on PATH, permafrost first.
func (b *bench) programs() []program {
	all := []program{b.permafrost("permafrost", b.binary)}
	if b.before != "" {
		all = append(all, b.permafrost("before", b.before))
	}
	all = append(all, []program{{
		name: "restic",
		env:  []string{"RESTIC_REPOSITORY=sftp:backup.example:" + b.repository("restic"), "RESTIC_PASSWORD=x", "RESTIC_CACHE_DIR=cache"},
		init: `restic -o sftp.command="$SSH -s sftp" init`,
		night: dump + ` | restic -o sftp.command="$SSH -s sftp" backup -q --stdin --stdin-filename dump
restic -o sftp.command="$SSH -s sftp" backup -q "$SYSTEM"`,
		check: `restic -o sftp.command="$SSH -s sftp" check -q --read-data`,
		restore: `restic -o sftp.command="$SSH -s sftp" restore -q latest --path /dump --target "$TARGET"
restic -o sftp.command="$SSH -s sftp" restore -q latest --path "$SYSTEM" --target "$TARGET"`,
		forget: `restic -o sftp.command="$SSH -s sftp" forget -q --keep-last 1 --prune`,
	}, {
		name: "borg",
		env: []string{"BORG_REPO=ssh://backup.example" + b.repository("borg"), "BORG_PASSPHRASE=x", "BORG_BASE_DIR=cache",
			"BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK=yes"},
		init: `BORG_RSH="${SSH% backup.example}" borg init -e repokey-blake2`,
		night: `export BORG_RSH="${SSH% backup.example}"
` + dump + ` | borg create ::dump$NIGHT -
cd "$SYSTEM/.." && borg create ::media$NIGHT system`,
		check: `BORG_RSH="${SSH% backup.example}" borg check --verify-data`,
		restore: `export BORG_RSH="${SSH% backup.example}"
mkdir -p "$TARGET" && cd "$TARGET" && borg extract --stdout ::dump$NIGHT > dump && borg extract ::media$NIGHT`,
		forget: `export BORG_RSH="${SSH% backup.example}"
borg prune --keep-last 1 -P dump && borg prune --keep-last 1 -P media && borg compact`,
	}, {
		name: "rsync", mirror: true,
		init: `mkdir -p "$REPO"`,
		night: dump + ` > dump
rsync -a -e "${SSH% backup.example}" dump "$SYSTEM" backup.example:"$REPO/"`,
		restore: `mkdir -p "$TARGET" && rsync -a -e "${SSH% backup.example}" backup.example:"$REPO/" "$TARGET/"`,
	}}...)
	var there []program
	for _, p := range all {
		if _, err := exec.LookPath(p.name); err != nil && p.binary == "" {
			say("%s is not on PATH and left out", p.name)
			continue
		}
		there = append(there, p)
	}
	return there
}

// permafrost is a permafrost as a program, under a name.
func (b *bench) permafrost(name, binary string) program {
	return program{
		name: name, binary: binary,
		env: []string{"PERMAFROST_REPOSITORY=sftp:backup.example:" + b.repository(name), "PERMAFROST_WRITER_KEY=writer.key",
			"PERMAFROST_STATE_DIR=state", "PERMAFROST_CACHE_DIR=cache"},
		init:    `"$PERMAFROST" init -q --recovery-key owner.key --writer-key writer.key`,
		night:   `"$PERMAFROST" snapshot -q --live "$LIVE"`,
		check:   `"$PERMAFROST" check -q -i owner.key --read-data`,
		restore: `"$PERMAFROST" restore -q -i owner.key --snapshot latest --target "$TARGET"`,
		forget:  `"$PERMAFROST" forget -q -i owner.key --keep-last 1 --prune`,
	}
}

// repository is where a program's repository lies on the server.
func (b *bench) repository(program string) string {
	return filepath.Join(b.SSHD.Root, program)
}

// do runs one of a program's scripts, with the home directory of its choice, and measures it.
func (b *bench) do(p *program, home, script string, more ...string) (measurement, error) {
	dir := filepath.Join(b.Dir, "bench", p.name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return measurement{}, err
	}
	repo := b.repository(p.name)
	config := filepath.Join(home, ".ssh", "config")
	env := append(b.Env(), "HOME="+home, "PERMAFROST_SSH_CONFIG="+config, "PERMAFROST="+p.binary, "LIVE="+b.Live,
		"SYSTEM="+b.System(), "DB="+b.Postgres.URL(database), "REPO="+repo, "SSH=ssh -F "+config+" backup.example")
	for _, v := range append(p.env, more...) {
		// A relative path is one of the program's own directory, wherever its scripts go.
		if name, value, _ := strings.Cut(v, "="); strings.HasSuffix(name, "_DIR") || strings.HasSuffix(name, "_KEY") {
			v = name + "=" + filepath.Join(dir, value)
		}
		env = append(env, v)
	}
	before := size(repo)
	m, err := shell(b.ctx, env, dir, script)
	if err != nil {
		return m, fmt.Errorf("%s: %w", p.name, err)
	}
	m.Program, m.Stored = p.name, size(repo)-before
	return m, nil
}
