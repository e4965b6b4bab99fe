package value

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"permafrost/repo/ledger"
	"permafrost/repo/upkeep"
	"permafrost/snapshot/restore"
	"permafrost/snapshot/retain"
)

// A Span is a retain.Span, as a flag takes it.
type Span struct{ Span *retain.Span }

func (s *Span) String() string {
	if s.Span == nil || s.Span.IsZero() {
		return ""
	}
	return s.Span.String()
}

// Set reads what retain.ParseSpan reads.
func (s *Span) Set(text string) error { return s.Span.UnmarshalText([]byte(text)) }

// Type names the flag's value in help texts.
func (s *Span) Type() string { return "span" }

// An Overwrite is the value of --overwrite.
type Overwrite restore.Overwrite

func (o *Overwrite) String() string { return string(*o) }
func (o *Overwrite) Type() string   { return "choice" }

func (o *Overwrite) Set(text string) error {
	switch v := restore.Overwrite(text); v {
	case restore.Always, restore.IfChanged, restore.Never:
		*o = Overwrite(v)
		return nil
	}
	return fmt.Errorf("%q is none of always, if-changed and never", text)
}

// A Subset is a part of the packs, as a flag takes it.
type Subset struct{ Subset *upkeep.Subset }

func (s *Subset) String() string { return "" }

// Set reads "5%", "500M" or "2/7".
func (s *Subset) Set(text string) error {
	if part, of, ok := strings.Cut(text, "/"); ok {
		n, err1 := strconv.Atoi(part)
		t, err2 := strconv.Atoi(of)
		if err1 != nil || err2 != nil || n < 1 || n > t || t > 1<<16 {
			return fmt.Errorf("%q is not a part: write 2/7 for the second of seven", text)
		}
		s.Subset = &upkeep.Subset{Part: n, Of: t}
		return nil
	}
	if strings.HasSuffix(text, "%") {
		var p Percent
		if err := p.Set(text); err != nil {
			return err
		}
		if p == 0 {
			return errors.New("0% is nothing")
		}
		s.Subset = &upkeep.Subset{Percent: float64(p) * 100}
		return nil
	}
	var n Size
	if err := n.Set(text); err != nil || n == 0 {
		return fmt.Errorf("%q is not a part: write 5%%, 500M or 1/7", text)
	}
	s.Subset = &upkeep.Subset{Bytes: int64(n)}
	return nil
}

// Type names the flag's value in help texts.
func (s *Subset) Type() string { return "part" }

// A Head is a log head, as a flag takes it.
type Head struct{ Head *ledger.Head }

func (h *Head) String() string { return "" }

// Set reads what a run printed as its log head.
func (h *Head) Set(text string) error {
	head, err := ledger.ParseHead(text)
	if err != nil {
		return err
	}
	h.Head = &head
	return nil
}

// Type names the flag's value in help texts.
func (h *Head) Type() string { return "head" }
