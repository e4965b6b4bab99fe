package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

const database = "mastodon_production"

// compare is the mode run.
func (b *bench) compare() error {
	return b.with(statuses*b.scale, files*b.scale, func() error {
		programs := b.programs()
		mirror := map[string]bool{"sftp": true}
		for i := range programs {
			mirror[programs[i].name] = programs[i].mirror
			if _, err := b.do(&programs[i], b.Home, programs[i].init); err != nil {
				return err
			}
		}
		all, err := b.floor()
		if err != nil {
			return err
		}
		turn := 0
		each := func(phase string, script func(*program) string, more func(*program) []string) error {
			// Who is first changes from phase to phase: the caches are warmer for who comes later.
			order := slices.Clone(programs)
			for range turn % len(order) {
				order = append(order[1:], order[0])
			}
			turn++
			for i := range order {
				p := &order[i]
				s := script(p)
				if s == "" {
					continue
				}
				say("%s: %s", phase, p.name)
				m, err := b.do(p, b.Home, s, more(p)...)
				if err != nil {
					return err
				}
				m.Phase = phase
				all = append(all, m)
			}
			return nil
		}
		night := 0
		number := func(*program) []string { return []string{fmt.Sprintf("NIGHT=%d", night)} }
		if err := each("first snapshot", func(p *program) string { return p.night }, number); err != nil {
			return err
		}
		for night = 1; night <= b.nights; night++ {
			if err := b.Churn(b.ctx, uint64(night)); err != nil {
				return err
			}
			if err := each(fmt.Sprintf("night %d", night), func(p *program) string { return p.night }, number); err != nil {
				return err
			}
		}
		night--
		if err := each("check, all data read", func(p *program) string { return p.check }, number); err != nil {
			return err
		}
		// What is restored stays to the end: a file system is slow for a while where much was removed.
		if err := each("restore", func(p *program) string { return p.restore }, func(p *program) []string {
			return append(number(p), "TARGET="+filepath.Join(b.Dir, "bench", "restored", p.name))
		}); err != nil {
			return err
		}
		if err := each("forget and prune", func(p *program) string { return p.forget }, number); err != nil {
			return err
		}
		slices.SortStableFunc(all, func(x, y measurement) int { return phaseOrder(all, x) - phaseOrder(all, y) })
		b.report(b.title(), all, mirror)
		return nil
	})
}

// phaseOrder is where a measurement's phase was first measured: the floor is that of the first snapshot and the restore.
func phaseOrder(all []measurement, m measurement) int {
	return slices.IndexFunc(all, func(x measurement) bool { return x.Phase == m.Phase })
}

// title says what was measured on.
func (b *bench) title() string {
	return fmt.Sprintf("%.2f GB of media, a dump of %.0f MB", float64(size(b.System()))/1e9,
		float64(fileSize(filepath.Join(b.Dir, "bench", "floor", "dump")))/1e6)
}

// floor measures OpenSSH's sftp with the same bytes in files of 16 MiB.
func (b *bench) floor() ([]measurement, error) {
	dir := filepath.Join(b.Dir, "bench", "floor")
	p := &program{name: "sftp"}
	if err := os.MkdirAll(filepath.Join(b.SSHD.Root, p.name), 0o755); err != nil {
		return nil, err
	}
	say("the floor: sftp")
	if _, err := b.do(p, b.Home, `mkdir -p "$FLOOR/in" "$FLOOR/out" && `+dump+` > "$FLOOR/dump"
(cat "$FLOOR/dump"; find "$SYSTEM" -type f -print0 | xargs -0 cat) | split -b 16M -a 5 - "$FLOOR/in/"`, "FLOOR="+dir); err != nil {
		return nil, err
	}
	var all []measurement
	for _, way := range []struct{ phase, script string }{
		{"first snapshot", `for f in "$FLOOR/in/"*; do echo "put $f $REPO/"; done | $SFTP`},
		{"restore", `echo "get $REPO/* $FLOOR/out/" | $SFTP`},
	} {
		m, err := b.do(p, b.Home, way.script, "FLOOR="+dir, "SFTP=sftp -q -b - -F "+filepath.Join(b.Home, ".ssh", "config")+" backup.example")
		if err != nil {
			return nil, err
		}
		m.Phase = way.phase
		all = append(all, m)
	}
	for _, d := range []string{filepath.Join(dir, "in"), filepath.Join(dir, "out"), filepath.Join(b.SSHD.Root, p.name)} {
		if err := os.RemoveAll(d); err != nil {
			return nil, err
		}
	}
	return all, nil
}
