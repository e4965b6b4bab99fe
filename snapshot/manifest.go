package snapshot

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"
	"unicode/utf8"

	"permafrost/repo/ledger"
	"permafrost/repo/store"
	"permafrost/snapshot/internal/blobtree"
	"permafrost/snapshot/stream"
	"permafrost/source"
	"permafrost/source/postgres"
	"permafrost/source/redis"
)

// Format is the manifest's format that this version writes, and the only one that it reads.
const Format = 1

const (
	maxManifest = 64 << 20 // bytes of JSON
	maxSecrets  = 10_000   // files
	maxLeftOut  = 100      // names of files left out, the others being only counted
)

// A Manifest is what a snapshot consists of. It is written as JSON.
type Manifest struct {
	Format    int       `json:"format"`
	Instance  string    `json:"instance"`             // LOCAL_DOMAIN
	WebDomain string    `json:"web_domain,omitempty"` // where it is another
	Date      string    `json:"date"`                 // YYYY-MM-DD: the night, as the operator names it
	Created   time.Time `json:"created"`              // when the run began
	Finished  time.Time `json:"finished"`             // when the last source was read
	Host      string    `json:"host"`
	Version   string    `json:"version"` // of permafrost
	Tags      []string  `json:"tags,omitempty"`
	Live      Text      `json:"live"`               // Mastodon's directory on the host
	Mastodon  string    `json:"mastodon,omitempty"` // its version, as lib/mastodon/version.rb says
	User      string    `json:"user"`               // who owned it

	Deployment source.Deployment `json:"deployment,omitzero"` // how the services ran

	Boundary Boundary `json:"boundary"`

	Secrets  Secrets  `json:"secrets"`
	Postgres Postgres `json:"postgres"`
	Redis    Redis    `json:"redis"`
	Sidekiq  *Redis   `json:"sidekiq,omitempty"` // where its queues are in another Redis
	Media    Media    `json:"media"`

	// Names of the owners of files, as the host had them.
	Users  map[uint32]string `json:"users,omitempty"`
	Groups map[uint32]string `json:"groups,omitempty"`

	MetaCost Cost `json:"meta_cost"` // of recipes and listing

	Warnings []string `json:"warnings,omitempty"`
}

// A State says what a snapshot has of a component.
type State = ledger.State

// The states that a manifest can name.
const (
	Captured   = ledger.Captured
	External   = ledger.External
	Skipped    = ledger.Skipped
	Failed     = ledger.Failed
	Incomplete = ledger.Incomplete
)

// A Boundary says at which moment the components agree. Mastodon's services ran meanwhile, so each source was fixed after the one that
// refers to it.
type Boundary struct {
	Snapshot  string    `json:"postgres_snapshot,omitempty"` // as pg_export_snapshot named it
	LSN       string    `json:"lsn,omitempty"`               // PostgreSQL's write-ahead log position then
	Time      time.Time `json:"time"`                        // when PostgreSQL's snapshot was taken; without one, when the rest was begun
	Redis     time.Time `json:"redis,omitzero"`              // when Redis' was complete
	MediaFrom time.Time `json:"media_from,omitzero"`
	MediaTo   time.Time `json:"media_to,omitzero"`
}

// A Cost says what a component's bytes took.
type Cost struct {
	Logical int64 `json:"logical"` // bytes as the source has them
	Fresh   int64 `json:"fresh"`   // of these not stored before
	Stored  int64 `json:"stored"`  // bytes that the fresh ones took, compressed
	Wasted  int64 `json:"wasted"`  // of the blobs referred to, bytes that the component doesn't use
}

// A Stream is a byte stream in the repository.
type Stream struct {
	Size   int64         `json:"size"`
	SHA256 SHA256        `json:"sha256"` // of the bytes as the source gave them
	Recipe stream.Recipe `json:"recipe"`
}

// Secrets are the settings and what else an administrator named. Where one of the named files could not be read they
// are incomplete: the settings are stored alone.
type Secrets struct {
	State  State        `json:"state"`
	Reason string       `json:"reason,omitempty"` // why they failed or are incomplete
	Files  []SecretFile `json:"files,omitempty"`  // .env.production first

	// Keys are keyed hashes of the secrets that Mastodon's set-up generated, by the name of their variable: see
	// keys.Keyring.SecretHash.
	Keys map[string]store.Name `json:"keys,omitempty"`
	Cost Cost                  `json:"cost"`
}

// A SecretFile is one of Secrets.
type SecretFile struct {
	Path  Text   `json:"path"` // absolute, on the host
	Mode  uint32 `json:"mode"`
	UID   uint32 `json:"uid"`
	GID   uint32 `json:"gid"`
	MTime int64  `json:"mtime"` // nanoseconds since 1970
	Stream
}

// Postgres is the database: one dump of pg_dump's custom format, uncompressed.
type Postgres struct {
	State    State  `json:"state"`
	Reason   string `json:"reason,omitempty"` // why it failed
	Database string `json:"database"`
	User     string `json:"user"` // Mastodon's role
	Stream
	Server postgres.Facts     `json:"server"`
	Dump   postgres.DumpFacts `json:"dump"`
	Cost   Cost               `json:"cost"`
}

// Redis is one server's data: an RDB file.
type Redis struct {
	State  State  `json:"state"`
	Reason string `json:"reason,omitempty"` // why it failed
	Stream
	Server redis.Facts     `json:"server"`
	Dump   redis.DumpFacts `json:"dump"`
	Cost   Cost            `json:"cost"`
}

// Media is the tree of attachments.
type Media struct {
	State    State   `json:"state"`
	Reason   string  `json:"reason,omitempty"` // why they failed
	External *Bucket `json:"external,omitempty"`
	Root     Text    `json:"root,omitempty"` // on the host
	UID      uint32  `json:"uid,omitempty"`  // of the root's owner
	GID      uint32  `json:"gid,omitempty"`
	Excludes []Text  `json:"excludes,omitempty"`
	Follow   []Text  `json:"follow,omitempty"`   // directories that links out of the root were followed into
	NoCache  bool    `json:"no_cache,omitempty"` // what can be fetched again was left out

	Listing Listing `json:"listing"`
	Files   int64   `json:"files"` // regular ones; each name of a hard link counts
	Size    int64   `json:"size"`  // bytes of these; a hard link's count once

	// Of these, cached copies of other servers' files, which Mastodon can fetch again.
	CacheFiles int64 `json:"cache_files,omitempty"`
	CacheSize  int64 `json:"cache_size,omitempty"`

	// Of all but the cached ones, how many are in each directory below the root: accounts, media_attachments and so on. Of very many
	// directories the largest are here.
	Classes map[string]ledger.Class `json:"classes,omitempty"`

	// Where media are in object storage: files that still lie below the root, and are not stored. Counting ends at some number.
	Local int64 `json:"local,omitempty"`

	Reread   int64     `json:"reread,omitempty"`   // files read again that had the size and time of the last snapshot
	Vanished int64     `json:"vanished,omitempty"` // files that were gone when they were to be read; many count as left out too
	Changed  int64     `json:"changed,omitempty"`  // files that changed between the walk and their reading: kept as they were then
	LeftOut  int       `json:"left_out,omitempty"` // files that could not be read, or were written to all the time
	Left     []LeftOut `json:"left,omitempty"`     // the first of these

	Cost Cost `json:"cost"`
}

// A Bucket is where media are that are not in a local tree.
type Bucket struct {
	Kind     string `json:"kind"` // s3, swift or azure
	Bucket   string `json:"bucket"`
	Endpoint string `json:"endpoint,omitempty"`
	Region   string `json:"region,omitempty"`
	Prefix   string `json:"prefix,omitempty"`
}

// LeftOut names a file that could not be read.
type LeftOut struct {
	Path   Text   `json:"path"`
	Reason string `json:"reason"`
}

// Reason returns an error's text for a LeftOut: without the path, which stands beside it.
func Reason(err error) string {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Op + ": " + pe.Err.Error()
	}
	return err.Error()
}

// Redises yields the name and the data of each Redis server: "redis" and, where there is one, "sidekiq".
func (m *Manifest) Redises(yield func(string, *Redis) bool) {
	if yield("redis", &m.Redis) && m.Sidekiq != nil {
		yield("sidekiq", m.Sidekiq)
	}
}

// Size returns the bytes of all components together.
func (m *Manifest) Size() int64 {
	n := int64(0)
	for _, size := range m.Sizes() {
		n += size
	}
	return n
}

// Sizes returns the bytes of each component, by its name.
func (m *Manifest) Sizes() map[string]int64 {
	s := map[string]int64{"postgres": m.Postgres.Size, "media": m.Media.Size}
	for _, f := range m.Secrets.Files {
		s["secrets"] += f.Size
	}
	for _, r := range m.Redises {
		s["redis"] += r.Size
	}
	return s
}

// Info returns what the log says of the snapshot. Stored is not known here.
func (m *Manifest) Info() ledger.SnapshotInfo {
	return ledger.SnapshotInfo{Instance: m.Instance, Host: m.Host, Date: m.Date, Time: m.Created, Tags: m.Tags,
		Partial: m.Media.LeftOut, Size: m.Size(), Holding: m.holding()}
}

// Encode returns the manifest as JSON. An error says what no snapshot can be.
func (m *Manifest) Encode() ([]byte, error) {
	if err := m.check(); err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	data, err := json.Marshal(m)
	if err == nil && len(data) > maxManifest {
		err = fmt.Errorf("%d bytes are more than %d", len(data), maxManifest)
	}
	if err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	return data, nil
}

// ParseManifest reads what Encode returned. Members that it does not know are passed over: a later version may tell
// more, and what changes the meaning of the rest changes the format's number.
func ParseManifest(data []byte) (*Manifest, error) {
	if len(data) > maxManifest {
		return nil, fmt.Errorf("manifest: %d bytes are more than %d", len(data), maxManifest)
	}
	var v struct{ Format int }
	m := new(Manifest)
	if err := json.Unmarshal(data, &v); err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	if v.Format != Format {
		return nil, fmt.Errorf("manifest of format %d: %w", v.Format, store.ErrNewerFormat)
	}
	d := json.NewDecoder(bytes.NewReader(data))
	if err := d.Decode(m); err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("manifest: something follows it")
	}
	if err := m.check(); err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	return m, nil
}

// parseManifestOf is ParseManifest for a snapshot that the log says to be of an instance: the content of another one is
// none of its business.
func parseManifestOf(instance string, data []byte) (*Manifest, error) {
	m, err := ParseManifest(data)
	if err == nil && m.Instance != instance {
		return nil, fmt.Errorf("manifest: it says that it is of %q, and the log says %q", m.Instance, instance)
	}
	return m, err
}

// check returns an error for what no snapshot can be.
func (m *Manifest) check() error {
	switch {
	case m.Format != Format:
		return fmt.Errorf("format %d", m.Format)
	case m.Instance == "" || m.Created.IsZero():
		return errors.New("no instance or no time")
	}
	if _, err := time.Parse(time.DateOnly, m.Date); err != nil {
		return fmt.Errorf("date %q is not like 2026-06-27", m.Date)
	}
	if err := m.checkTexts(); err != nil {
		return err
	}
	if m.Postgres.State != Captured && m.Media.State != Captured {
		return errors.New("neither the database nor media")
	}
	if err := m.Secrets.check(); err != nil {
		return fmt.Errorf("secrets: %w", err)
	}
	if err := checkStream(m.Postgres.State, m.Postgres.Reason, &m.Postgres.Stream); err != nil {
		return fmt.Errorf("postgres: %w", err)
	}
	if err := m.Postgres.checkCounts(); err != nil {
		return fmt.Errorf("postgres: %w", err)
	}
	for name, r := range m.Redises {
		if err := checkStream(r.State, r.Reason, &r.Stream); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if err := m.Media.check(); err != nil {
		return fmt.Errorf("media: %w", err)
	}
	return nil
}

func (s *Stream) check() error {
	if s.Recipe.Size != s.Size {
		return fmt.Errorf("%d bytes with a recipe for %d", s.Size, s.Recipe.Size)
	}
	return s.Recipe.Check()
}

func (s *Secrets) check() error {
	if err := checkState(s.State, s.Reason); err != nil {
		return err
	}
	stored := s.State == Captured || s.State == Incomplete
	if n := len(s.Files); s.State == External || stored != (n > 0) || n > maxSecrets {
		return fmt.Errorf("state %q, %d files", s.State, n)
	}
	for i := range s.Files {
		f := &s.Files[i]
		if len(f.Path) < 2 || f.Path[0] != '/' || !validPath(string(f.Path[1:])) || f.Path == "/." || f.Mode > 07777 {
			return fmt.Errorf("file %q is impossible", string(f.Path))
		}
		if err := f.Stream.check(); err != nil {
			return fmt.Errorf("%q: %w", string(f.Path), err)
		}
	}
	return nil
}

func (m *Media) check() error {
	if err := checkState(m.State, m.Reason); err != nil {
		return err
	}
	if m.State == Incomplete || (m.State == External) != (m.External != nil) || (m.State == Captured) != (m.Listing.Entries > 0) {
		return fmt.Errorf("state %q with %d entries", m.State, m.Listing.Entries)
	}
	if m.Files < 0 || m.Files > m.Listing.Entries || m.Size < 0 || m.Size > blobtree.MaxWeight || m.LeftOut < len(m.Left) || len(m.Left) > maxLeftOut {
		return errors.New("impossible counts")
	}
	if m.CacheFiles < 0 || m.CacheFiles > m.Files || m.CacheSize < 0 || m.CacheSize > m.Size {
		return errors.New("impossible counts of cached files")
	}
	if err := m.checkClasses(); err != nil {
		return err
	}
	return m.Listing.check()
}

// A SHA256 is the SHA-256 of a byte stream, as 64 lower-case hexadecimal digits in JSON.
type SHA256 [32]byte

// String returns the digits.
func (s SHA256) String() string { return hex.EncodeToString(s[:]) }

// MarshalText returns what String returns.
func (s SHA256) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, s[:]), nil }

// UnmarshalText reads what MarshalText wrote.
func (s *SHA256) UnmarshalText(b []byte) error {
	var n store.Name
	err := n.UnmarshalText(b)
	*s = SHA256(n)
	return err
}

// Text is a name as the file system has it, which need not be UTF-8: a string in JSON where it is, else an object
// of its base64.
type Text string

type rawText struct {
	Base64 string `json:"base64"`
}

// MarshalJSON returns the text's JSON form.
func (t Text) MarshalJSON() ([]byte, error) {
	if utf8.ValidString(string(t)) {
		return json.Marshal(string(t))
	}
	return json.Marshal(rawText{base64.StdEncoding.EncodeToString([]byte(t))})
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (t *Text) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '{' {
		var raw rawText
		if err := json.Unmarshal(b, &raw); err != nil {
			return err
		}
		data, err := base64.StdEncoding.DecodeString(raw.Base64)
		*t = Text(data)
		return err
	}
	return json.Unmarshal(b, (*string)(t))
}
