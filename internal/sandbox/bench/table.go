package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"
)

// report prints measurements, each with its ratio to the fastest of the other programs that keep a history.
func (b *bench) report(title string, all []measurement, mirror map[string]bool) {
	if b.json {
		for _, m := range all {
			json.NewEncoder(os.Stdout).Encode(m)
		}
		return
	}
	fmt.Printf("\n%s\n\n", title)
	table(os.Stdout, all, mirror)
}

func table(to io.Writer, all []measurement, mirror map[string]bool) {
	best := make(map[string]time.Duration)
	for _, m := range all {
		if m.Program != "permafrost" && m.Program != "before" && !mirror[m.Program] && (best[m.Phase] == 0 || m.Wall < best[m.Phase]) {
			best[m.Phase] = m.Wall
		}
	}
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "phase\tprogram\twall\tCPU\tpeak\tstored\tto the best other")
	for i, m := range all {
		phase, ratio := m.Phase, ""
		if i > 0 && all[i-1].Phase == phase {
			phase = ""
		}
		if (m.Program == "permafrost" || m.Program == "before") && best[m.Phase] > 0 {
			ratio = fmt.Sprintf("%.2f", m.Wall.Seconds()/best[m.Phase].Seconds())
		}
		fmt.Fprintf(w, "%s\t%s\t%.1f s\t%.1f s\t%d MB\t%.2f MB\t%s\n", phase, m.Program, m.Wall.Seconds(), m.CPU.Seconds(),
			m.Peak/1e6, float64(m.Stored)/1e6, ratio)
	}
	w.Flush()
}
