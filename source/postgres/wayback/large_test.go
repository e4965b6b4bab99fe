package wayback

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
)

var large = flag.Bool("large", false, "bring back a table of 2 GB, not one of 8 MB")

// A large table comes back through a pipe, whatever its size.
func TestWayBackOfLarge(t *testing.T) {
	t.Parallel()
	rows := 1000
	if *large {
		rows = 260_000
	}
	sql(t, "postgres", "create role large login; create database large owner large")
	sql(t, "large", fmt.Sprintf(`create table statuses (id bigint primary key, text text); insert into statuses select i, repeat(md5(i::text), 250) from generate_series(1, %d) i;
		create index on statuses (md5(text)); alter table statuses owner to large`, rows))
	file, err := os.Create(filepath.Join(t.TempDir(), "dump"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	s := captureTo(t, "large", "large", file)
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	s.TOC, s.Facts.Login = tocOf(t, file), "scram-sha-256"
	w := newWayBack(t, host(t), s, nil, nil)
	w.must(os.Rename(file.Name(), w.dump))
	w.run()
	const sum = "select count(*), md5(string_agg(md5(text), '' order by id)) from statuses"
	want, err := cluster.Query(t.Context(), "large", sum)
	w.must(err)
	if got, err := w.h.Query(t.Context(), "large", sum); err != nil || got != want {
		t.Errorf("%s, %v, want %s", got, err, want)
	}
}
