package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// play is the story.
func (d *demo) play() error {
	if err := d.configure(); err != nil {
		return err
	}
	if err := d.run(0, "permafrost init -r "+d.url+" --live "+d.instance.Live+" --recovery-key recovery.key --writer-key writer.key"); err != nil {
		return err
	}
	dates := lastNights(3)
	nights := make([]night, len(dates))
	for n, date := range dates {
		if n > 0 {
			say("A day passes: new statuses, likes, profiles, deletions, files.")
			if err := d.instance.Churn(d.ctx, uint64(n)); err != nil {
				return err
			}
		}
		var err error
		if nights[n], err = d.remember(); err != nil {
			return err
		}
		if n == 0 {
			say("%s", nights[n])
		}
		if err := d.run(0, "permafrost snapshot -r "+d.url+" --writer-key writer.key --live "+d.instance.Live+" --date "+date); err != nil {
			return err
		}
	}
	if err := d.look(dates[0]); err != nil {
		return err
	}
	say("The night before last, then last night.")
	for _, n := range []int{1, 2} {
		target := filepath.Join(d.instance.Dir, "restored-"+dates[n])
		if err := d.run(0, "permafrost restore -r "+d.url+" -i recovery.key --date "+dates[n]+" --target "+target); err != nil {
			return err
		}
		if err := d.wayBack(target); err != nil {
			return err
		}
		if err := d.compare(nights[n], target); err != nil {
			return fmt.Errorf("restored from %s: %w", dates[n], err)
		}
	}
	return nil
}

// wayBack has the plan's own script bring everything back to the servers. Of its file with the values of the host an administrator
// changes what is otherwise here: nobody starts services, and the servers are where the sandbox has them.
func (d *demo) wayBack(target string) error {
	p := d.instance.Postgres
	var edits []string
	for _, v := range [][2]string{{"services", "none"}, {"pg_admin", p.User}, {"pg_admin_user", p.OSUser}, {"pg_admin_host", p.SocketDir}, {"redis_way", "replication"}, {"redis_replace", "yes"}} {
		edits = append(edits, "s|^"+v[0]+"=.*|"+v[0]+"="+v[1]+"|")
	}
	if err := d.run(0, "sed -i "+strings.Join(edits, ";")+" "+target+"/plan/host.sh"); err != nil {
		return err
	}
	return d.run(0, "bash "+target+"/restore.sh --yes")
}

// configure writes the administrator's configuration: what permafrost keeps on
// this machine stays within the sandbox.
func (d *demo) configure() error {
	text := fmt.Sprintf("cache_dir = %q\nstate_dir = %q\n", filepath.Join(d.instance.Home, "cache"), filepath.Join(d.instance.Home, "state"))
	if err := os.WriteFile(filepath.Join(d.instance.Home, "permafrost.toml"), []byte(text), 0o600); err != nil {
		return err
	}
	return d.run(0, "cat permafrost.toml")
}

// lastNights returns the dates of the last n nights, which are made one behind the other here.
func lastNights(n int) (dates []string) {
	for ago := n - 1; ago >= 0; ago-- {
		dates = append(dates, time.Now().AddDate(0, 0, -ago).Format(time.DateOnly))
	}
	return dates
}

// look is what one does with a repository between nights. The first one goes.
func (d *demo) look(first string) error {
	for _, step := range []struct {
		title string
		code  int
		line  string
	}{
		{"", 0, "permafrost snapshots -r " + d.url + " --writer-key writer.key"},
		{"This host can't read its own older backups: the key for that is kept elsewhere.",
			12, "permafrost dump -r " + d.url + " --writer-key writer.key latest secrets"},
		{"", 0, "permafrost check -r " + d.url + " --writer-key writer.key"},
		{"", 0, "permafrost forget -r " + d.url + " -i recovery.key --keep-last 2 --prune"},
		{"What was forgotten is gone, and the rest is whole.",
			1, "permafrost restore -r " + d.url + " -i recovery.key --date " + first + " --target " + filepath.Join(d.instance.Dir, "forgotten")},
		{"", 0, "permafrost check -r " + d.url + " -i recovery.key --read-data"},
	} {
		if step.title != "" {
			say("%s", step.title)
		}
		if err := d.run(step.code, step.line); err != nil {
			return err
		}
	}
	return d.searchStorage()
}
