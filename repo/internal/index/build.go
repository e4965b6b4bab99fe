package index

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"slices"

	"permafrost/internal/localdir"
	"permafrost/repo/ledger"
	"permafrost/repo/store"
)

// mergeRatio bounds the number of tables: one is merged with those that are smaller once they have a quarter of its
// entries together. Each entry is written anew a few times in its life, and a look-up asks a dozen tables at most.
const mergeRatio = 4

// A build makes one index.
type build struct {
	*Loader
	log      *ledger.History
	dir      *localdir.Dir       // of tables; nil: none are kept
	copies   bool                // copies of index objects on this machine will do
	want     map[store.Name]bool // index objects
	problems []error             // with index objects
	noted    bool
}

func (b *build) noteDamage() {
	if !b.noted {
		b.noted = true
		b.note("the local index was damaged and is rebuilt")
	}
}

// run makes the index, again where a table turns out to be damaged. damaged hears of each index object that can't be used.
func (b *build) run(ctx context.Context, damaged func(error) error) (*Index, error) {
	b.want = make(map[store.Name]bool)
	for ref := range b.log.Indexes.All() {
		b.want[ref.Name] = true
	}
	for {
		x, err := b.try(ctx)
		var bad *tableError
		if errors.As(err, &bad) && bad.table.path != "" {
			b.files.drop(bad.table)
			b.noteDamage()
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, err := range b.problems {
			if err := damaged(err); err != nil {
				return nil, err
			}
		}
		return x, nil
	}
}

// try makes the index of the tables that are there and of one more for what they lack.
func (b *build) try(ctx context.Context) (*Index, error) {
	b.problems = nil
	have := b.files.open(b.dir, b.key, b.noteDamage)
	tables, missing := b.choose(have)
	if len(missing) > 0 {
		t, err := b.fetch(ctx, missing)
		if err != nil {
			return nil, err
		}
		if t != nil {
			tables = append(tables, t)
		}
	}
	merged, err := b.merge(tables)
	if err != nil {
		return nil, err
	}
	x, err := b.assemble(merged)
	if err != nil {
		return nil, err
	}
	b.tidy(slices.Concat(have, tables), merged)
	return x, nil
}

// tidy removes tables that hold nothing that is not in those that are used. What another process made by a newer log
// stays.
func (b *build) tidy(have, used []*table) {
	covered := make(map[store.Name]bool)
	for _, t := range used {
		for i := range t.covers {
			covered[t.covers[i].name] = true
		}
	}
	for _, t := range have {
		if slices.ContainsFunc(used, func(u *table) bool { return u.path == t.path }) {
			continue
		}
		if !slices.ContainsFunc(t.covers, func(o tableObject) bool { return b.keep(o.name) && !covered[o.name] }) {
			b.files.drop(t)
		}
	}
}

// keep reports whether an index object is of use, now or by a newer log: no prune has named it.
func (b *build) keep(n store.Name) bool {
	return b.want[n] || len(b.log.Pruned[store.Index.Object(n)]) == 0
}

// choose returns the tables that are needed, those with most first, and the index objects that none of them covers, in
// the log's order.
func (b *build) choose(have []*table) (tables []*table, missing []store.Name) {
	have = slices.Clone(have)
	slices.SortFunc(have, func(s, t *table) int {
		return cmp.Or(cmp.Compare(b.kept(t), b.kept(s)), cmp.Compare(s.path, t.path))
	})
	covered := make(map[store.Name]bool)
	for _, t := range have {
		adds := false
		for i := range t.covers {
			if n := t.covers[i].name; b.want[n] && !covered[n] {
				covered[n], adds = true, true
			}
		}
		if adds {
			tables = append(tables, t)
		}
	}
	for ref := range b.log.Indexes.All() {
		if !covered[ref.Name] {
			covered[ref.Name] = true
			missing = append(missing, ref.Name)
		}
	}
	return tables, missing
}

// kept is the number of entries of the index objects of t that are of use.
func (b *build) kept(t *table) int {
	n := uint64(0)
	for i := range t.covers {
		if b.keep(t.covers[i].name) {
			n += t.covers[i].blobs
		}
	}
	return int(n)
}

// write makes a table by fill: in the cache where that can be, else in a temporary file, else in memory. It returns nil
// where fill adds nothing.
func (b *build) write(fill func(*tableWriter) error) (*table, error) {
	places := []tablePlace{{}, {inMemory: true}}
	if cache := b.machine.Tables(); cache != nil { // where there is more room than in the system's place, as a rule
		places = append([]tablePlace{{dir: cache}}, places...)
	}
	if b.dir != nil {
		places = append([]tablePlace{{dir: b.dir, keep: true}}, places...)
	}
	for i := 0; ; i++ {
		t, err := writeTable(places[i], b.key, fill)
		var local *localError
		if !errors.As(err, &local) || i == len(places)-1 {
			return t, err
		}
	}
}

func writeTable(at tablePlace, key *[32]byte, fill func(*tableWriter) error) (*table, error) {
	w, err := newTableWriter(at, key)
	if err != nil {
		return nil, err
	}
	defer w.discard()
	if err := fill(w); err != nil || len(w.objects) == 0 {
		return nil, err
	}
	return w.finish(tableName(w.objects))
}

// tableName names a table for the index objects that it covers.
func tableName(objects []tableObject) string {
	var names []store.Name
	for i := range objects {
		names = append(names, objects[i].name)
	}
	slices.SortFunc(names, func(a, b store.Name) int { return slices.Compare(a[:], b[:]) })
	h := sha256.New()
	for _, n := range names {
		h.Write(n[:])
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// fetch makes a table of index objects from the store.
func (b *build) fetch(ctx context.Context, missing []store.Name) (*table, error) {
	t, err := b.write(func(w *tableWriter) error {
		b.problems = nil
		for o := range ahead(ctx, missing, func(ctx context.Context, n store.Name) ([]byte, error) {
			return b.data(ctx, n, b.copies, false)
		}) {
			err := o.err
			if err == nil {
				err = b.add(w, b.log, o.name, o.data)
			}
			var d *store.DamageError
			if errors.As(err, &d) {
				b.problems = append(b.problems, err)
			} else if err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil && t != nil && t.path != "" {
		for i := range t.covers {
			b.machine.Drop(store.Index.Object(t.covers[i].name))
		}
	}
	return t, err
}

// merge joins small tables, and those that hold much of what is no more. Where the disk has no room they stay apart.
func (b *build) merge(tables []*table) ([]*table, error) {
	tables = slices.Clone(tables)
	slices.SortStableFunc(tables, func(s, t *table) int { return cmp.Compare(b.kept(t), b.kept(s)) })
	from, sum := len(tables), 0
	for i := len(tables) - 1; i >= 0; i-- {
		n := b.kept(tables[i])
		if i < len(tables)-1 && n <= mergeRatio*sum {
			from = i
		}
		sum += n
		if n < tables[i].entries.n*3/4 {
			from = i
		}
	}
	group := tables[from:]
	if len(group) == 0 || slices.ContainsFunc(group, func(t *table) bool { return t.path == "" }) {
		return tables, nil
	}
	covered := make(map[store.Name]bool)
	for _, t := range tables[:from] {
		for i := range t.covers {
			covered[t.covers[i].name] = true
		}
	}
	t, err := writeTable(tablePlace{dir: b.dir, keep: true}, b.key, func(w *tableWriter) error {
		for _, t := range group {
			if err := w.table(t, func(n store.Name) bool {
				use := b.keep(n) && !covered[n]
				covered[n] = true
				return use
			}); err != nil {
				return err
			}
		}
		return nil
	})
	var local *localError
	switch {
	case errors.As(err, &local):
		return tables, nil
	case err != nil:
		for _, t := range group {
			if err := t.verify(); err != nil {
				return nil, &tableError{t, err}
			}
		}
		return nil, err
	case t == nil:
		return tables[:from], nil
	}
	return append(tables[:from:from], t), nil
}

// assemble makes the index of tables by what the log says of the index objects that they cover.
func (b *build) assemble(tables []*table) (*Index, error) {
	x := &Index{Keys: b.log.Keys, cache: new(pageCache), damage: &tableDamage{files: b.files, note: b.noteDamage}}
	covered := make(map[store.Name]bool)
	for _, t := range tables {
		if err := x.attach(t, func(o *tableObject) (as Object) {
			as.Live = b.want[o.name] && !covered[o.name]
			covered[o.name] = true
			// The instance that it names counts where whoever named the object in the log spoke for that instance.
			if slices.ContainsFunc(b.log.Indexes.Vouchers(o.name), func(s ledger.Scope) bool { return s.Serves(o.instance) }) {
				as.Instance = o.instance
				as.Trusted = o.instance != "" && b.log.Roster.Scope(o.signer[:]).Serves(o.instance)
			}
			return as
		}); err != nil {
			return nil, err
		}
	}
	x.settle(b.log)
	return x, nil
}
