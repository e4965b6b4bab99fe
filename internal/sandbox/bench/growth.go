package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"text/tabwriter"
	"time"
)

// A grown is what one night's dump stored.
type grown struct {
	Night  int     `json:"night"`
	Dump   int64   `json:"dump"`   // bytes
	Stored int64   `json:"stored"` // by permafrost, recipes and index included
	Wasted float64 `json:"wasted"` // of the bytes that the dump references, the share that it does not use
	Restic int64   `json:"restic"` // bytes that restic stored for the same dump
}

// growth is the mode growth: dumps alone, with as little beside them as an instance can have.
func (b *bench) growth() error {
	return b.with(statuses*b.scale, 0, func() error {
		programs := b.programs()
		p := &programs[0]
		if _, err := b.do(p, b.Home, p.init); err != nil {
			return err
		}
		restic := len(programs) > 1 && programs[1].name == "restic"
		if restic {
			if _, err := b.do(&programs[1], b.Home, programs[1].init); err != nil {
				return err
			}
		}
		var nights []grown
		for n := range b.nights + 1 {
			if n > 0 {
				if err := b.Churn(b.ctx, uint64(n)); err != nil {
					return err
				}
			}
			say("growth: night %d", n)
			g, err := b.grow(p, n)
			if err == nil && restic {
				g.Restic, err = b.resticDump(&programs[1])
			}
			if err != nil {
				return err
			}
			nights = append(nights, g)
		}
		b.reportGrowth(nights)
		return b.comeBack(p)
	})
}

// grow makes a snapshot and returns what its dump took. What media and Redis took is taken off what the repository grew by.
func (b *bench) grow(p *program, night int) (g grown, err error) {
	m, err := b.do(p, b.Home, p.night, fmt.Sprintf("NIGHT=%d", night))
	if err != nil {
		return g, err
	}
	out := filepath.Join(b.Dir, "bench", "manifest")
	if _, err := b.do(p, b.Home, `"$PERMAFROST" show latest --json > "$OUT"`, "OUT="+out); err != nil {
		return g, err
	}
	data, err := os.ReadFile(out)
	if err != nil {
		return g, err
	}
	type component struct {
		Size int64
		Cost struct{ Stored, Wasted int64 }
	}
	var manifest struct{ Postgres, Media, Redis, Secrets component }
	if err := json.NewDecoder(bytes.NewReader(data)).Decode(&manifest); err != nil {
		return g, err
	}
	d := manifest.Postgres
	g = grown{Night: night, Dump: d.Size, Stored: m.Stored - manifest.Media.Cost.Stored - manifest.Redis.Cost.Stored - manifest.Secrets.Cost.Stored,
		Wasted: float64(d.Cost.Wasted) / float64(d.Size+d.Cost.Wasted)}
	return g, nil
}

// resticDump has restic store the dump alone.
func (b *bench) resticDump(p *program) (int64, error) {
	m, err := b.do(p, b.Home, dump+` | restic -o sftp.command="$SSH -s sftp" backup -q --stdin --stdin-filename dump`)
	return m.Stored, err
}

func (b *bench) reportGrowth(nights []grown) {
	if b.json {
		for _, g := range nights {
			json.NewEncoder(os.Stdout).Encode(g)
		}
		return
	}
	fmt.Printf("\nStored for each night's dump, MB\n\n")
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "night\tdump\tpermafrost\trestic\trestic is so many times\tunused\t")
	var sum grown
	for i, g := range nights {
		if i > 0 {
			sum.Stored += g.Stored
			sum.Restic += g.Restic
		}
		fmt.Fprintf(w, "%d\t%.0f\t%.2f\t%.2f\t%.1f\t%.1f %%\t\n", g.Night, mb(g.Dump), mb(g.Stored), mb(g.Restic), mb(g.Restic)/mb(g.Stored), 100*g.Wasted)
	}
	if sum.Stored > 0 {
		fmt.Fprintf(w, "after 0\t\t%.2f\t%.2f\t%.1f\t\t\n", mb(sum.Stored), mb(sum.Restic), mb(sum.Restic)/mb(sum.Stored))
	}
	w.Flush()
}

func mb(n int64) float64 { return float64(n) / 1e6 }

// comeBack measures how fast the first and the last dump come back, in turn, the best of three each.
func (b *bench) comeBack(p *program) error {
	if _, err := exec.LookPath("wc"); err != nil {
		return err
	}
	oldest, err := b.oldest(p)
	if err != nil {
		return err
	}
	best := make(map[string]float64) // MB/s
	for range 3 {
		for _, s := range []string{oldest, "latest"} {
			out := filepath.Join(b.Dir, "bench", "bytes")
			m, err := b.do(p, b.Home, `"$PERMAFROST" dump -q -i owner.key "$SNAP" postgres | wc -c > "$OUT"`, "SNAP="+s, "OUT="+out)
			if err != nil {
				return err
			}
			data, err := os.ReadFile(out)
			if err != nil {
				return err
			}
			var n int64
			fmt.Sscan(string(data), &n)
			best[s] = max(best[s], mb(n)/m.Wall.Seconds())
		}
	}
	first, last := best[oldest], best["latest"]
	if b.json {
		return json.NewEncoder(os.Stdout).Encode(map[string]any{"phase": "dump comes back", "first": first, "last": last, "time": time.Now()})
	}
	fmt.Printf("\nThe first dump comes back at %.0f MB/s, the last at %.0f MB/s: %.2f of it.\n", first, last, last/first)
	return nil
}

// oldest returns the ID of the first snapshot.
func (b *bench) oldest(p *program) (string, error) {
	out := filepath.Join(b.Dir, "bench", "snapshots")
	if _, err := b.do(p, b.Home, `"$PERMAFROST" snapshots --json > "$OUT"`, "OUT="+out); err != nil {
		return "", err
	}
	data, err := os.ReadFile(out)
	if err != nil {
		return "", err
	}
	var first struct{ ID string }
	return first.ID, json.NewDecoder(bytes.NewReader(data)).Decode(&first)
}
