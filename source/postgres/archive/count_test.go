package archive

import "testing"

// What no dump can be is not counted, wherever it goes wrong, and a dump that is cut is not either.
func TestCountErrors(t *testing.T) {
	a := &Archive{tables: map[int]string{7: "public.t"}, intSize: 4}
	num := func(n uint32) string { return string([]byte{0, byte(n), byte(n >> 8), byte(n >> 16), byte(n >> 24)}) }
	whole := "\x01" + num(7) + num(4) + "row\n" + num(5) + dataEnd + num(0)
	count := func(data string) error {
		c, err := a.Counter(0)
		if err != nil {
			t.Fatal(err)
		}
		c.Count([]byte(data))
		_, _, err = c.Counted()
		return err
	}
	if err := count(whole); err != nil {
		t.Fatal(err)
	}
	for n := range len(whole) {
		if count(whole[:n]) == nil {
			t.Errorf("cut to %d bytes it is counted", n)
		}
	}
	for name, data := range map[string]string{
		"unknown block": "\x02" + whole[1:],
		"twice":         whole + whole,
		"huge":          "\x01" + num(7) + num(1<<31),
		"negative":      "\x01" + num(7) + "\x01\x01\x00\x00\x00",
		"no end mark":   "\x01" + num(7) + num(4) + "row\n" + num(0),
		"another table": "\x01" + num(8) + num(5) + dataEnd + num(0),
	} {
		if count(data) == nil {
			t.Errorf("%s: counted", name)
		}
	}
}
