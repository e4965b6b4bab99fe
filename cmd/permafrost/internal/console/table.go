package console

import (
	"strings"
	"unicode/utf8"

	"permafrost/internal/escape"
)

// A Table lays out rows of text in columns. A heading that begins with '>' sets its column to the right.
type Table struct {
	heads []string
	rows  [][]string
}

// NewTable returns a table without rows.
func NewTable(heads ...string) *Table { return &Table{heads: heads} }

// Add adds a row, as visible text.
func (t *Table) Add(cells ...string) {
	for i := range cells {
		cells[i] = escape.Line(cells[i])
	}
	t.rows = append(t.rows, cells)
}

// Lines returns the table, a line a row, with the headings first and no space at the ends of lines.
func (t *Table) Lines() (lines []string) {
	heads := make([]string, len(t.heads))
	for i, h := range t.heads {
		heads[i] = strings.TrimPrefix(h, ">")
	}
	rows := append([][]string{heads}, t.rows...)
	widths := make([]int, len(heads))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			if i > 0 {
				line.WriteString("  ")
			}
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if strings.HasPrefix(t.heads[i], ">") {
				line.WriteString(pad + cell)
			} else {
				line.WriteString(cell + pad)
			}
		}
		lines = append(lines, strings.TrimRight(line.String(), " "))
	}
	return lines
}
