package value

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"permafrost/snapshot/retain"
)

// A Port is a TCP port, as a flag takes it; 0 where none was given.
type Port int

func (p *Port) String() string {
	if *p == 0 {
		return ""
	}
	return strconv.Itoa(int(*p))
}

// Set reads a number from 1 to 65535.
func (p *Port) Set(text string) error {
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n == 0 {
		return errors.New("a port is a number from 1 to 65535")
	}
	*p = Port(n)
	return nil
}

// Type names the flag's value in help texts.
func (p *Port) Type() string { return "port" }

// A Percent is a share between 0 and 1, as a flag takes it: "5%".
type Percent float64

func (p *Percent) String() string { return strconv.FormatFloat(float64(*p)*100, 'f', -1, 64) + "%" }

// Set reads a number from 0 to 100 with or without a percent sign.
func (p *Percent) Set(text string) error {
	v, err := strconv.ParseFloat(strings.TrimSuffix(text, "%"), 64)
	if err != nil || !(v >= 0 && v <= 100) {
		return fmt.Errorf("%q is not a share: write a percentage like 5%%", text)
	}
	*p = Percent(v / 100)
	return nil
}

// Type names the flag's value in help texts.
func (p *Percent) Type() string { return "percentage" }

// A Count is a number of snapshots to keep, or all of them.
type Count int

func (n *Count) String() string { return strconv.Itoa(int(*n)) }

// Set reads a number of 0 or more, or "all", which is -1.
func (n *Count) Set(text string) error {
	if text == "all" {
		*n = retain.Unlimited
		return nil
	}
	v, err := strconv.Atoi(text)
	if err != nil || v < retain.Unlimited || v > maxKeepCount {
		return errors.New("give a number up to a million; -1 or all keeps every snapshot")
	}
	*n = Count(v)
	return nil
}

// Type names the flag's value in help texts.
func (n *Count) Type() string { return "N" }
