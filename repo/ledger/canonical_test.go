package ledger

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"permafrost/repo/store"
)

// An entry has one form: what a reader could take for another, or pass over, is none.
func TestOneFormOfEntries(t *testing.T) {
	e := &Entry{Seq: 7, Prev: &Head{6, store.Name{1}}, Time: time.Date(2026, 6, 1, 3, 0, 0, 0, time.UTC), Forget: &ForgetEntry{Snapshots: []store.Name{{2}}}}
	good, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parseEntry(good); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string][2]string{
		"another case":       {`"seq"`, `"SEQ"`},
		"a member twice":     {`"seq":7`, `"seq":7,"seq":7`},
		"twice, otherwise":   {`"seq":7`, `"seq":8,"seq":7`},
		"both cases":         {`"seq":7`, `"seq":7,"Seq":7`},
		"an unknown member":  {`"seq":7`, `"seq":7,"more":1`},
		"a known one empty":  {`"seq":7`, `"seq":7,"prune":null`},
		"another order":      {`"seq":7,"prev"`, `"prev"`},
		"another case below": {`"snapshots"`, `"Snapshots"`},
		"room":               {`"seq":7`, `"seq": 7`},
		"an escape":          {`"seq"`, `"\u0073eq"`},
		"another number":     {`"seq":7`, `"seq":7e0`},
		"another time":       {`03:00:00Z`, `03:00:00.000Z`},
		"something behind":   {`}}`, `}}` + "\n"},
	} {
		body := strings.Replace(string(good), change[0], change[1], 1)
		if body == string(good) {
			t.Fatalf("%s: nothing changes in %s", name, good)
		}
		if got, err := parseEntry([]byte(body)); err == nil {
			t.Errorf("%s: %s is taken for %+v", name, body, got)
		}
	}
}

// What an entry quotes of a host need not be UTF-8: what is published is read all the same.
func TestEntryOfAnyBytes(t *testing.T) {
	e := &Entry{Snapshot: &SnapshotEntry{SnapshotInfo: SnapshotInfo{Host: "h\xff", Tags: []string{"\x80<&>\u2028"},
		Time: time.Date(2026, 6, 1, 3, 0, 0, 1, time.FixedZone("", 3600)), Holding: Holding{Media: MediaHolding{Classes: map[string]Class{"a\xfe": {}, "a\xff": {}}}}}}}
	body, err := e.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parseEntry(body); err != nil {
		t.Errorf("%s: %v", body, err)
	}
}
