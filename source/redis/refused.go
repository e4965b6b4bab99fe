package redis

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"permafrost/source"
)

const (
	// defaultFile is the name of an RDB unless Redis was told another one.
	defaultFile = "dump.rdb"

	// maxAge is how old an RDB may be that Redis has saved by itself, and saveLag how much later than the end of a save by
	// Redis' clock its file may be of.
	maxAge, saveLag = 24 * time.Hour, 5 * time.Second
)

// filePath returns where Redis keeps its RDB: as it says, or else below the directory that its process works in. Who says a
// wrong process leads to a file that does not change with a save, and that is read with the rights of Redis' user anyway.
func (s *Server) filePath() (string, error) {
	dir := s.facts.Dir
	if dir == "" && s.process == 0 {
		return "", errors.New("the server does not tell where its file is (CONFIG GET dir, INFO server)")
	}
	if dir == "" {
		var err error
		if dir, err = os.Readlink(fmt.Sprintf("/proc/%d/cwd", s.process)); err != nil {
			return "", fmt.Errorf("the server does not tell where its file is (CONFIG GET dir): %w", err)
		}
	}
	return filepath.Join("/", dir, filepath.Base(cmp.Or(s.facts.File, defaultFile))), nil
}

// ownSave opens the RDB that Redis has saved by itself, as the last way that is left: its state is older. That it is this
// Redis', the time tells at which that says to have saved.
func (s *Server) ownSave(ctx context.Context) (*Dump, error) {
	if _, err := s.runner(); err != nil {
		return nil, err
	}
	path, err := s.filePath()
	if err != nil {
		return nil, err
	}
	saved := s.facts.LastSave
	if saved.IsZero() {
		seconds, err := s.client.LastSave(ctx).Result()
		if err != nil {
			return nil, fmt.Errorf("LASTSAVE: %w", err)
		}
		saved = time.Unix(seconds, 0)
	}
	f, err := s.openFile(path)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil {
		switch lag := info.ModTime().Sub(saved).Abs(); {
		case lag > saveLag:
			err = fmt.Errorf("%s is of %s, and Redis saved last at %s", path, info.ModTime().Format(time.DateTime), saved.Local().Format(time.DateTime))
		case time.Since(saved) > maxAge:
			err = fmt.Errorf("%s is of %s, more than a day old", path, info.ModTime().Format(time.DateTime))
		}
	}
	var d *Dump
	if err == nil {
		d, err = s.newDump(ctx, lastSave, f, f.Close)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return d, nil
}

// otherwise is what is left where the data set could be had neither by BGSAVE, which says why, nor by replication, which says err.
func (s *Server) otherwise(ctx context.Context, why, err error) (*Dump, error) {
	ways := fmt.Errorf("by replication: %w; by BGSAVE: %w", explain(s.conf, err), redact(s.conf, why))
	if !unavailable(err) {
		return nil, ways
	}
	d, ferr := s.ownSave(ctx)
	if ferr != nil {
		return nil, refusal(s.conf, err).Of(fmt.Errorf("%w; by the file that it saved by itself: %w", ways, redact(s.conf, ferr)))
	}
	d.facts.Why = ways.Error()
	remedy := "give PSYNC or SYNC back in redis.conf (rename-command)"
	if why := refusal(s.conf, err); why.Cause == CauseNotAllowed {
		remedy = "type in redis-cli: " + why.Facts[0]
	}
	s.opts.Warn(fmt.Sprintf("the data of Redis are of %s, when it last saved them. It refuses to save or send them now (%v); %s",
		when(d.facts.Time), redact(s.conf, err), remedy))
	return d, nil
}

func when(t time.Time) string {
	if t.IsZero() {
		return "an unknown time"
	}
	return t.Local().Format(time.DateTime)
}

// refusal says why a Redis refuses to send its data.
func refusal(conf source.Redis, err error) source.Reason {
	if replied(err, "NOPERM") {
		return source.Reason{Cause: CauseNotAllowed, Facts: []string{"ACL SETUSER " + cmp.Or(conf.User, "default") + " +psync +replconf +ping"}}
	}
	return source.Reason{Cause: CauseRenamed}
}
