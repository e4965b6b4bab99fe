package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
)

// wayBack is the mode wayback: from a repository to a database that is restored and verified, against what that takes at the least:
// sftp's get of the dump, and pg_restore with several jobs from that file.
func (b *bench) wayBack() error {
	return b.with(statuses*b.scale, 0, func() error {
		p := b.permafrost("permafrost", b.binary)
		for _, script := range []string{p.init, p.night} {
			if _, err := b.do(&p, b.Home, script); err != nil {
				return err
			}
		}
		host, err := b.standIns()
		if err != nil {
			return err
		}
		floor := &program{name: "pg_restore"}
		raw := filepath.Join(b.SSHD.Root, floor.name)
		if err := os.MkdirAll(raw, 0o755); err != nil {
			return err
		}
		if _, err := b.do(floor, b.Home, dump+` > "$REPO/dump"`); err != nil {
			return err
		}
		var all []measurement
		for round := range b.nights {
			for turn := range 2 {
				m, err := b.wayBackOnce(round, (round+turn)%2 == 0, &p, floor, host)
				if err != nil {
					return err
				}
				all = append(all, m)
			}
		}
		b.report(fmt.Sprintf("a dump of %.0f MB", float64(fileSize(filepath.Join(raw, "dump")))/1e6), all, nil)
		return nil
	})
}

// wayBackOnce restores the database once, by the floor or by permafrost: until all that the dump has is there and the rows
// are counted. The steps that come then are passed over, as the floor has none of them.
func (b *bench) wayBackOnce(round int, floor bool, p, least *program, host string) (m measurement, err error) {
	here := filepath.Join(b.Dir, "bench", "back"+strconv.Itoa(round))
	pg := b.Postgres
	say("round %d", round+1)
	if floor {
		m, err = b.do(least, b.Home, `sftp -q -F "$HOME/.ssh/config" backup.example:"$REPO/dump" "$HERE.dump"
createdb -T template0 "$DATABASE"
pg_restore -j "$JOBS" --no-owner -d "$DATABASE" "$HERE.dump"`,
			"PATH="+pg.BinDir+":"+os.Getenv("PATH"), "PGHOST="+pg.Host, "PGPORT="+strconv.Itoa(pg.Port), "PGUSER="+pg.User, "PGPASSWORD="+pg.Password,
			"HERE="+here, "DATABASE=floor"+strconv.Itoa(round), "JOBS="+strconv.Itoa(runtime.NumCPU()))
	} else {
		m, err = b.do(p, b.Home, `"$PERMAFROST" restore -q -i owner.key --snapshot latest --component postgres --target "$HERE"
sed -i -E "s|^pg_admin=.*|pg_admin=$ADMIN|; s|^pg_admin_user=.*|pg_admin_user=$ADMIN_USER|; s|^pg_admin_host=.*|pg_admin_host=$SOCKET|; s|^pg_asks=.*|pg_asks=''|; s|^pg_role_user=.*|pg_role_user=$ADMIN_USER|; s|^pg_host=.*|pg_host=$SOCKET|" "$HERE/plan/host.sh"
(. "$HERE/plan/host.sh" && for step in postgres-{settings,swap,login,statistics} start feeds search; do mark "$step"; done)
bash "$HERE/restore.sh" --yes`,
			"PATH="+host+":"+os.Getenv("PATH"), "HERE="+here, "ADMIN="+pg.User, "ADMIN_USER="+pg.OSUser, "SOCKET="+pg.SocketDir)
	}
	m.Phase = "round " + strconv.Itoa(round+1)
	return m, err
}

// standIns returns a directory with commands that a bench's host lacks: Mastodon's units never run here.
func (b *bench) standIns() (string, error) {
	dir := filepath.Join(b.Dir, "bench", "bin")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	script := "#!/bin/sh\ncd " + dir + "\ncase $1 in start) touch on ;; stop) rm -f on ;; is-active) test -e on ;; esac\n"
	return dir, os.WriteFile(filepath.Join(dir, "systemctl"), []byte(script), 0o755)
}
