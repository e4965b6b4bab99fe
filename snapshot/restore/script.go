package restore

import (
	_ "embed"
	"strings"

	"permafrost/internal/escape"
	"permafrost/source/way"
)

//go:embed runner.sh
var runner string

// script returns restore.sh.
func (p *Plan) script() []byte {
	var b strings.Builder
	b.WriteString(strings.Replace(runner, "HOST", escape.Shell(p.Host()), 1))
	for _, s := range p.Steps() {
		const end = "END_OF_STEP"
		b.WriteString("\nstep " + s.Number + " " + s.Name + " " + escape.Shell(s.Title) + " <<'" + end + "'\n" +
			way.Block(p.Host(), s.Number, &s.Step) + end + "\n")
	}
	b.WriteString("\nend\n")
	return []byte(b.String())
}
