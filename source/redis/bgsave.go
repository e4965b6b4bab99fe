package redis

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"permafrost/internal/hostfs"
)

// save makes Redis write its RDB, and opens that file. An error says why the RDB can't be had so.
func (s *Server) save(ctx context.Context) (*Dump, error) {
	path, before, err := s.rdbPath()
	if err != nil {
		return nil, err
	}
	start := time.Now()
	sctx, cancel := context.WithTimeoutCause(ctx, saveTime, fmt.Errorf("it took longer than %v", saveTime))
	defer cancel()
	if err := s.bgsave(sctx); err != nil {
		return nil, err
	}
	f, err := s.openFresh(path, before)
	if err != nil {
		return nil, err
	}
	d, err := s.newDump(ctx, bgsave, f, f.Close)
	if err == nil {
		err = newer(d.facts.Time, start)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return d, nil
}

// rdbPath returns the path of Redis's RDB and what is there now, nil if nothing. It is an error if the file
// can't be read anyway: then Redis need not save for us.
func (s *Server) rdbPath() (string, fs.FileInfo, error) {
	if _, err := s.runner(); err != nil {
		return "", nil, err
	}
	path, err := s.filePath()
	if err != nil {
		return "", nil, err
	}
	f, err := s.openFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		// It may just not have saved yet. In a container, mostly its directory isn't there.
		dir, err := hostfs.Resolve(filepath.Dir(path))
		if err != nil {
			return "", nil, err
		}
		return path, nil, dir.Close()
	}
	if err != nil {
		return "", nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	return path, info, err
}

// bgsave runs a BGSAVE of our own to its end. One that was under way is waited for first: its state is
// older.
func (s *Server) bgsave(ctx context.Context) error {
	var last int64 // when the last save before ours ended
	err := poll(ctx, func() (bool, error) {
		info, err := s.info(ctx, "persistence")
		if err != nil || info["rdb_bgsave_in_progress"] == "1" || info["aof_rewrite_in_progress"] == "1" {
			return false, err
		}
		last = number(info["rdb_last_save_time"])
		err = s.client.BgSave(ctx).Err()
		if busy(err) {
			return false, nil // one began in between
		}
		return true, err
	})
	if err != nil {
		return fmt.Errorf("BGSAVE: %w", err)
	}
	var status string
	err = poll(ctx, func() (bool, error) {
		info, err := s.info(ctx, "persistence")
		status = info["rdb_last_bgsave_status"]
		// Where another save follows at once, the time of the last one tells that ours has ended.
		return info["rdb_bgsave_in_progress"] == "0" || number(info["rdb_last_save_time"]) > last, err
	})
	switch {
	case err != nil:
		return fmt.Errorf("waiting for BGSAVE: %w", err)
	case status != "ok":
		return errors.New("BGSAVE failed: Redis's log says why, often a full disk or a lack of memory")
	}
	return nil
}

// busy reports whether a BGSAVE was refused because another child process was at work.
func busy(err error) bool {
	return replied(err) && (strings.Contains(err.Error(), "in progress") || strings.Contains(err.Error(), "child process"))
}

// openFresh opens the file at path, which must not be the one that was there before. Redis writes each RDB
// to a new file and renames it, so what is open here stays as it is.
func (s *Server) openFresh(path string, before fs.FileInfo) (*os.File, error) {
	f, err := s.openFile(path)
	if err != nil {
		return nil, err
	}
	after, err := f.Stat()
	if err == nil && before != nil && os.SameFile(before, after) && before.ModTime().Equal(after.ModTime()) {
		err = fmt.Errorf("%s is not the file that Redis writes: it did not change", path)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// newer refuses an RDB whose metadata says that it is older than start. The file is on this host, so the
// clocks are one; but the kernel gives Redis a coarser time than it gives us.
func newer(rdb, start time.Time) error {
	if !rdb.IsZero() && rdb.Before(start.Add(-time.Second).Truncate(time.Second)) {
		return fmt.Errorf("not from this BGSAVE, but of %s", rdb.Format(time.RFC3339))
	}
	return nil
}
