package console

import (
	"strings"
	"testing"
)

func TestTable(t *testing.T) {
	tab := NewTable("ID", ">Size", "Tags")
	tab.Add("ab12", "1 B", "")
	tab.Add("größer", "1023 KiB", "weekly")
	want := "" +
		"ID          Size  Tags\n" +
		"ab12         1 B\n" +
		"größer  1023 KiB  weekly\n"
	if got := strings.Join(tab.Lines(), "\n") + "\n"; got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}
