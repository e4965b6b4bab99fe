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
	steps := p.Steps()
	var names []string
	for _, s := range steps {
		names = append(names, s.Name)
	}
	var b strings.Builder
	b.WriteString(strings.NewReplacer("HOST", escape.Shell(p.Host()), "STEPS", strings.Join(names, " ")).Replace(runner))
	for _, s := range steps {
		const end = "END_OF_STEP"
		b.WriteString("\nstep " + s.Number + " " + s.Name + " " + escape.Shell(s.Title) + " " + escape.Shell(s.Effect) + " <<'" + end + "'\n" +
			way.Block(p.Host(), s.Number, &s.Step) + end + "\n")
	}
	b.WriteString("\nend\n")
	return []byte(b.String())
}
