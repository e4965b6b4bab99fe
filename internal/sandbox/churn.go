package sandbox

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Churn lets a day pass: new statuses with their files, counters, refreshed
// profiles, deletions, a suspended account, queues. The same seed on the same
// instance makes the same day.
func (i *Instance) Churn(ctx context.Context, seed uint64) error {
	w := i.world
	day := w.rand(kindDay, int(seed))
	from, to := w.statuses, w.statuses+max(10, w.first/daily)
	w.statuses = to
	if err := i.tree.write(ctx, w.flowingFiles(from, to)); err != nil {
		return fmt.Errorf("a day of media files: %w", err)
	}
	for _, t := range flowing {
		if err := i.Postgres.copyRows(ctx, Database, w, t, from, to); err != nil {
			return err
		}
	}
	deleted := i.doomedStatuses()
	sql := counters(w, day) + i.refreshSQL(day) + deletions(w, deleted) + sequencesSQL + "VACUUM ANALYZE;\n"
	if err := i.churnFiles(ctx, day, deleted); err != nil {
		return fmt.Errorf("a day of media files: %w", err)
	}
	if err := i.Postgres.Exec(ctx, Database, sql); err != nil {
		return err
	}
	i.days++
	return churnRedis(ctx, i.Redis, i.Sidekiq, w, day, from, to)
}

// doomedStatuses are those that end on this day: recent ones on the first.
func (i *Instance) doomedStatuses() []int {
	w, window := i.world, max(50, i.world.first/40)
	var doomed []int
	end := w.first - i.days*window
	for k := max(0, end-window); k < end; k++ {
		if w.doomed(k) {
			doomed = append(doomed, k)
		}
	}
	return doomed
}

// counters lets recent statuses be liked more than old ones, and people sign
// in.
func counters(w *world, day *rng) string {
	var stats, people []string
	rows := w.first / 3
	for range max(5, rows/100) {
		stats = append(stats, strconv.Itoa(rows-day.below(rows)*day.below(rows)/rows))
	}
	for range max(5, w.accounts/50) {
		people = append(people, strconv.Itoa(1+day.below(w.accounts)))
	}
	return "UPDATE status_stats SET favourites_count = favourites_count + 1, updated_at = updated_at + interval '1 day' WHERE id IN (" +
		strings.Join(stats, ",") + ");\n" +
		"UPDATE account_stats SET statuses_count = statuses_count + 1, last_status_at = last_status_at + interval '1 day' WHERE id IN (" +
		strings.Join(people, ",") + ");\n" +
		"UPDATE users SET sign_in_count = sign_in_count + 1, last_sign_in_at = current_sign_in_at, " +
		"current_sign_in_at = current_sign_in_at + interval '1 day' WHERE id % 3 = 0;\n"
}

// refreshed are the remote accounts whose profile changed on this day.
func (i *Instance) refreshSQL(day *rng) string {
	w := i.world
	var sql strings.Builder
	for range max(3, w.accounts/100) {
		k := w.locals + day.below(w.accounts-w.locals)
		fmt.Fprintf(&sql, "UPDATE accounts SET note = '<p>%s</p>', updated_at = updated_at + interval '1 day', last_webfingered_at = '%s' WHERE id = %d;\n",
			strings.ReplaceAll(string(day.prose(nil, 200)), "'", "''"), w.statusTime(w.statuses).Format(time.DateTime), w.accountID(k))
	}
	return sql.String()
}

// deletions removes statuses, and the attachments that Mastodon removes with
// them.
func deletions(w *world, statuses []int) string {
	var ids []string
	for _, k := range statuses {
		ids = append(ids, strconv.FormatInt(w.statusID(k), 10))
	}
	if len(ids) == 0 {
		return ""
	}
	list := strings.Join(ids, ",")
	return "DELETE FROM media_attachments WHERE status_id IN (" + list + ");\nDELETE FROM statuses WHERE id IN (" + list + ");\n"
}

// churnFiles removes the files of deleted statuses and of one old preview
// card, replaces a few avatars, and hides the files of one account.
func (i *Instance) churnFiles(ctx context.Context, day *rng, deleted []int) error {
	w := i.world
	for f := range w.filesOf(deleted) {
		if err := i.tree.remove(f.path); err != nil {
			return err
		}
	}
	if w.pictures <= w.locals+1 {
		return nil
	}
	for range max(1, w.pictures/200) {
		if err := i.replaceAvatar(ctx, day, w.locals+day.below(w.pictures-w.locals)); err != nil {
			return err
		}
	}
	return i.hideAvatar(w.locals + day.below(w.pictures-w.locals))
}

// filesOf yields the files of some statuses.
func (w *world) filesOf(statuses []int) func(yield func(file) bool) {
	return func(yield func(file) bool) {
		for _, k := range statuses {
			m, ok := w.attachment(k)
			if !ok {
				continue
			}
			if f := w.original(m); f.path != "" && (!yield(f) || !yield(f.as("small", 15<<10, 60<<10))) {
				return
			}
		}
	}
}

// replaceAvatar gives the k-th account a new picture, under a new name.
func (i *Instance) replaceAvatar(ctx context.Context, day *rng, k int) error {
	w := i.world
	f := newFile(day, true, "accounts/avatars", w.accountID(k), 10<<10, 40<<10, w.statusTime(w.statuses))
	old, err := filepath.Glob(filepath.Join(i.tree.root, filepath.Dir(f.path), "*"))
	if err != nil {
		return err
	}
	for _, path := range old {
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	if err := i.tree.writeFile(f, make([]byte, 64<<10)); err != nil {
		return err
	}
	return i.Postgres.Exec(ctx, Database, fmt.Sprintf(
		"UPDATE accounts SET avatar_file_name = '%s', avatar_file_size = %d, avatar_updated_at = '%s' WHERE id = %d",
		f.name, f.size, f.time.Format(time.DateTime), w.accountID(k)))
}

// hideAvatar makes the k-th account's picture unreadable for the web server,
// as a suspension does: its mode changes, nothing else.
func (i *Instance) hideAvatar(k int) error {
	dir := filepath.Join(i.tree.root, filepath.Dir(i.world.avatar(k).path))
	return filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		return os.Chmod(path, 0o600)
	})
}

// remove deletes a file and the directories that it leaves empty.
func (t *tree) remove(path string) error {
	if err := os.Remove(filepath.Join(t.root, path)); err != nil {
		return err
	}
	for dir := filepath.Dir(path); dir != "."; dir = filepath.Dir(dir) {
		if os.Remove(filepath.Join(t.root, dir)) != nil {
			return nil
		}
	}
	return nil
}
