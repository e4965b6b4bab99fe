package quote

import "testing"

// Each table has a name of its own, and the name tells the table.
func TestTableName(t *testing.T) {
	seen := make(map[string]bool)
	for want, table := range map[string][2]string{
		"public.accounts": {"public", "accounts"},
		`"a.b".c`:         {"a.b", "c"},
		`a."b.c"`:         {"a", "b.c"},
		`"A b"."t'"" %s"`: {"A b", `t'" %s`},
		`a.""""`:          {"a", `"`},
		`"ü"."1"`:         {"ü", "1"},
	} {
		got := TableName(table[0], table[1])
		schema, name, err := ParseTableName(got)
		if got != want || seen[got] || err != nil || schema != table[0] || name != table[1] {
			t.Errorf("%q: %s, read as %q %q, %v", table, got, schema, name, err)
		}
		seen[got] = true
	}
	for _, bad := range []string{"", "a", ".", "a.", ".a", "a.b.c", `"a.b`, `a"."b`, `"a"b.c`, `"".a`, "A.b"} {
		if schema, name, err := ParseTableName(bad); err == nil {
			t.Errorf("%q is read as %q %q", bad, schema, name)
		}
	}
}
