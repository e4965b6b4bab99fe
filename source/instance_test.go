package source

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"
)

// secrets are the variables without which Load warns.
const secrets = `ACTIVE_RECORD_ENCRYPTION_PRIMARY_KEY=1
ACTIVE_RECORD_ENCRYPTION_DETERMINISTIC_KEY=2
ACTIVE_RECORD_ENCRYPTION_KEY_DERIVATION_SALT=3
SECRET_KEY_BASE=4
VAPID_PRIVATE_KEY=5
VAPID_PUBLIC_KEY=6
`

// load writes env as the .env.production of a new live directory and loads it.
func load(t *testing.T, env string) (*Instance, error) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, ".env.production"), []byte(env), 0o600); err != nil {
		t.Fatal(err)
	}
	return Load(dir, "", Addresses{})
}

func mustLoad(t *testing.T, env string) *Instance {
	t.Helper()
	inst, err := load(t, "LOCAL_DOMAIN=example.social\n"+env)
	if err != nil {
		t.Fatal(err)
	}
	return inst
}

func TestLoadDefaults(t *testing.T) {
	env := "# mine\nLOCAL_DOMAIN=example.social\r\n" + secrets
	dir := t.TempDir()
	path := filepath.Join(dir, ".env.production")
	if err := os.WriteFile(path, []byte(env), 0o640); err != nil {
		t.Fatal(err)
	}
	when := time.Unix(1700000000, 123456789)
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, when, when); err != nil {
		t.Fatal(err)
	}
	inst, err := Load(dir, "", Addresses{})
	if err != nil {
		t.Fatal(err)
	}
	want := &Instance{
		Dir: dir, EnvPath: path, Env: []byte(env),
		Mode: 0o640, UID: uint32(os.Getuid()), GID: uint32(os.Getgid()), MTime: when.UnixNano(),
		Domain: "example.social", WebDomain: "example.social",
		Database: Database{Host: "localhost", Port: 5432, Name: "mastodon_production", User: "mastodon", SSLMode: "prefer", Params: map[string]string{}},
		Redis:    Redis{Network: "tcp", Addr: "localhost:6379"},
		Media:    Media{Root: filepath.Join(dir, "public", "system")},
		OSUser:   inst.OSUser,
		Generated: GeneratedKeys{"ACTIVE_RECORD_ENCRYPTION_PRIMARY_KEY": "1", "ACTIVE_RECORD_ENCRYPTION_DETERMINISTIC_KEY": "2",
			"ACTIVE_RECORD_ENCRYPTION_KEY_DERIVATION_SALT": "3", "SECRET_KEY_BASE": "4", "VAPID_PRIVATE_KEY": "5"},
	}
	if !reflect.DeepEqual(inst, want) {
		t.Errorf("got\n%+v, want\n%+v", inst, want)
	}
}

func TestLoadDatabase(t *testing.T) {
	base := Database{Host: "localhost", Port: 5432, Name: "mastodon_production", User: "mastodon", SSLMode: "prefer"}
	with := func(change func(*Database)) Database { d := base; change(&d); return d }
	for _, c := range []struct {
		name, env string
		want      Database
	}{
		{"variables", "DB_HOST=db\nDB_PORT=5433\nDB_NAME=n\nDB_USER=u\nDB_PASS='p w'\nDB_SSLMODE=verify-full",
			Database{Host: "db", Port: 5433, Name: "n", User: "u", Password: "p w", SSLMode: "verify-full"}},
		{"socket", "DB_HOST=/var/run/postgresql", with(func(d *Database) { d.Host = "/var/run/postgresql" })},
		{"empty host", "DB_HOST=", with(func(d *Database) { d.Host = "/var/run/postgresql" })},
		{"URL wins", "DB_HOST=no\nDB_NAME=no\nDB_USER=no\nDB_PASS=no\nDB_PORT=1\nDATABASE_URL=postgresql://u:p@h:5433/n",
			Database{Host: "h", Port: 5433, Name: "n", User: "u", Password: "p", SSLMode: "prefer"}},
		{"the rest of a URL", "DB_HOST=h\nDB_PASS=p\nDB_PORT=99\nDATABASE_URL=postgres:///n", Database{Host: "h", Port: 99, Name: "n", User: "mastodon", Password: "p", SSLMode: "prefer"}},
		{"primary URL wins", "DATABASE_URL=postgres://a/a\nPRIMARY_DATABASE_URL=postgres://b/b", with(func(d *Database) { d.Host, d.Name = "b", "b" })},
		{"Rails parameters", "DATABASE_URL='postgresql://h/n?pool=5&timeout=5000&encoding=unicode&prepared_statements=true&sslmode=require&sslrootcert=/a%20b.crt&connect_timeout=5'",
			Database{Host: "h", Port: 5432, Name: "n", User: "mastodon", SSLMode: "require", Params: map[string]string{"sslrootcert": "/a b.crt", "connect_timeout": "5"}}},
		{"percent-encoding", "DATABASE_URL=postgresql://u%40x:p%2F%3A%23%25+@h/n%20m", Database{Host: "h", Port: 5432, Name: "n m", User: "u@x", Password: "p/:#%+", SSLMode: "prefer"}},
		{"socket in a URL", "DATABASE_URL=postgresql://%2Fvar%2Frun%2Fpostgresql/n", with(func(d *Database) { d.Host, d.Name = "/var/run/postgresql", "n" })},
		{"socket as a parameter", "DATABASE_URL='postgresql:///n?host=/run/pg&port=5433&user=u'", with(func(d *Database) { d.Host, d.Port, d.Name, d.User = "/run/pg", 5433, "n", "u" })},
		{"IPv6", "DATABASE_URL=postgresql://[::1]:5433/n", with(func(d *Database) { d.Host, d.Port, d.Name = "::1", 5433, "n" })},
		{"colon in the password", "DATABASE_URL=postgresql://u:a:b@h/n", with(func(d *Database) { d.User, d.Password, d.Host, d.Name = "u", "a:b", "h", "n" })},
		{"PgBouncer's port", "DB_PORT=6432", with(func(d *Database) { d.Port, d.Pooler = 6432, true })},
		{"PgBouncer's port in a URL", "DATABASE_URL=postgresql://h:6432/n", with(func(d *Database) { d.Host, d.Port, d.Name, d.Pooler = "h", 6432, "n", true })},
		{"no prepared statements", "PREPARED_STATEMENTS=false", with(func(d *Database) { d.Pooler = true })},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := mustLoad(t, c.env).Database
			if !maps.Equal(got.Params, c.want.Params) {
				t.Errorf("parameters %v, want %v", got.Params, c.want.Params)
			}
			got.Params, c.want.Params = nil, nil
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %v password %q %s, want %v password %q %s", got, got.Password, got.SSLMode, c.want, c.want.Password, c.want.SSLMode)
			}
		})
	}
}

func TestLoadReplica(t *testing.T) {
	if inst := mustLoad(t, "REPLICA_DB_HOST=h"); inst.Replica != nil {
		t.Errorf("a host alone makes no replica: %v", inst.Replica)
	}
	r := mustLoad(t, "DB_PASS=p\nDB_PORT=5433\nREPLICA_DB_NAME=n\nREPLICA_DB_HOST=h\nREPLICA_DB_PORT=6432").Replica
	if r == nil || r.Host != "h" || r.Port != 6432 || r.Name != "n" || r.Password != "p" || r.User != "mastodon" || !r.Pooler {
		t.Errorf("got %v", r)
	}
	r = mustLoad(t, "DB_HOST=primary\nDATABASE_URL=postgres://primary/x\nREPLICA_DATABASE_URL=postgres://u:p@replica/y").Replica
	if r == nil || r.Host != "replica" || r.Name != "y" || r.User != "u" {
		t.Errorf("got %v", r)
	}
}

func TestLoadRedis(t *testing.T) {
	for _, c := range []struct {
		name, env string
		want      Redis
	}{
		{"variables", "REDIS_HOST=h\nREDIS_PORT=6380\nREDIS_USER=u\nREDIS_PASSWORD='p#'\nREDIS_DB=3", Redis{Network: "tcp", Addr: "h:6380", User: "u", Password: "p#", DB: 3}},
		{"empty host", "REDIS_HOST=\nREDIS_PORT=", Redis{Network: "tcp", Addr: "localhost:6379"}},
		{"IPv6", "REDIS_HOST=::1", Redis{Network: "tcp", Addr: "[::1]:6379"}},
		{"URL wins", "REDIS_HOST=no\nREDIS_PASSWORD=no\nREDIS_DB=9\nREDIS_URL=redis://h", Redis{Network: "tcp", Addr: "h:6379"}},
		{"URL whole", "REDIS_URL=redis://u:p%40@h:6380/3", Redis{Network: "tcp", Addr: "h:6380", User: "u", Password: "p@", DB: 3}},
		{"URL with a password alone", "REDIS_URL=redis://:p@h/", Redis{Network: "tcp", Addr: "h:6379", Password: "p"}},
		{"URL with parameters", "REDIS_URL=redis://h?timeout=5&db=4", Redis{Network: "tcp", Addr: "h:6379", DB: 4}},
		{"URL with a lone name", "REDIS_URL=redis://p@h", Redis{Network: "tcp", Addr: "h:6379", Password: "p"}},
		{"TLS", "REDIS_URL=rediss://h:6390", Redis{Network: "tcp", Addr: "h:6390", TLS: true}},
		{"socket", "REDIS_URL=unix:///run/redis.sock?db=2", Redis{Network: "unix", Addr: "/run/redis.sock", DB: 2}},
		{"socket with a password", "REDIS_URL=unix://:p@/run/redis.sock", Redis{Network: "unix", Addr: "/run/redis.sock", Password: "p"}},
		{"sentinels", "REDIS_SENTINELS=a,b:1\nREDIS_SENTINEL_MASTER=m\nREDIS_PASSWORD=p\nREDIS_HOST=no", Redis{Network: "tcp", Password: "p", SentinelPassword: "p", Sentinels: []string{"a:26379", "b:1"}, SentinelMaster: "m"}},
		{"sentinels' own", "REDIS_SENTINELS=a\nREDIS_SENTINEL_PORT=2\nREDIS_SENTINEL_MASTER=m\nREDIS_PASSWORD=p\nREDIS_SENTINEL_PASSWORD=\nREDIS_DB=1", Redis{Network: "tcp", Password: "p", DB: 1, Sentinels: []string{"a:2"}, SentinelMaster: "m"}},
		{"sentinels without a master", "REDIS_SENTINELS=a\nREDIS_HOST=h", Redis{Network: "tcp", Addr: "h:6379"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			inst := mustLoad(t, c.env)
			if !reflect.DeepEqual(inst.Redis, c.want) {
				t.Errorf("got %v %+q, want %v", inst.Redis, inst.Redis.Password, c.want)
			}
			if inst.Sidekiq != nil {
				t.Errorf("Sidekiq has its own: %v", inst.Sidekiq)
			}
		})
	}
}

func TestLoadSidekiq(t *testing.T) {
	for env, want := range map[string]*Redis{
		"SIDEKIQ_REDIS_URL=redis://q:6380/1":                                          {Network: "tcp", Addr: "q:6380", DB: 1},
		"REDIS_PASSWORD=p\nSIDEKIQ_REDIS_HOST=q":                                      {Network: "tcp", Addr: "q:6379"},
		"REDIS_HOST=127.0.0.1\nSIDEKIQ_REDIS_HOST=localhost\nSIDEKIQ_REDIS_PORT=6379": nil,
		"REDIS_DB=1\nSIDEKIQ_REDIS_HOST=localhost":                                    {Network: "tcp", Addr: "localhost:6379"},
		"SIDEKIQ_REDIS_PASSWORD=p\nSIDEKIQ_REDIS_PORT=1":                              nil,
		"CACHE_REDIS_URL=redis://cache":                                               nil,
		"SIDEKIQ_REDIS_SENTINELS=a\nSIDEKIQ_REDIS_SENTINEL_MASTER=m":                  {Network: "tcp", Sentinels: []string{"a:26379"}, SentinelMaster: "m"},
		"REDIS_URL=redis://h/2\nSIDEKIQ_REDIS_URL=redis://:p@h:6379/2":                nil,
	} {
		if got := mustLoad(t, env).Sidekiq; !reflect.DeepEqual(got, want) {
			t.Errorf("%q: got %v, want %v", env, got, want)
		}
	}
}

func TestLoadMedia(t *testing.T) {
	for _, c := range []struct {
		env, root string // root relative to the live directory
		external  *External
	}{
		{"PAPERCLIP_ROOT_PATH=/srv/media/", "/srv/media", nil},
		{"PAPERCLIP_ROOT_PATH=../media", "../media", nil},
		{"PAPERCLIP_ROOT_PATH=:rails_root/m", "m", nil},
		{"S3_ENABLED=false\nS3_BUCKET=b", "public/system", nil},
		{"S3_ENABLED=true\nS3_BUCKET=b\nS3_ENDPOINT=https://s3.example\nS3_REGION=r\nS3_KEY_PREFIX=p", "public/system", &External{"s3", "b", "https://s3.example", "r", "p"}},
		{"S3_ENABLED=true\nS3_BUCKET=b\nSWIFT_ENABLED=true", "public/system", &External{"s3", "b", "", "us-east-1", ""}},
		{"SWIFT_ENABLED=true\nSWIFT_CONTAINER=c\nSWIFT_OBJECT_URL=https://o\nSWIFT_REGION=r", "public/system", &External{"swift", "c", "https://o", "r", ""}},
		{"AZURE_ENABLED=true\nAZURE_CONTAINER_NAME=c\nAZURE_STORAGE_ACCOUNT=a", "public/system", &External{"azure", "c", "a", "", ""}},
	} {
		inst := mustLoad(t, c.env)
		root := c.root
		if !filepath.IsAbs(root) {
			root = filepath.Join(inst.Dir, root)
		}
		if want := (Media{Root: root, External: c.external}); !reflect.DeepEqual(inst.Media, want) {
			t.Errorf("%q: got %+v, want %+v", c.env, inst.Media, want)
		}
	}
}

func TestLoadWarnings(t *testing.T) {
	if w := mustLoad(t, secrets).Warnings; len(w) != 0 {
		t.Errorf("warnings of a whole file: %q", w)
	}
	for key, want := range map[string]string{
		"ACTIVE_RECORD_ENCRYPTION_PRIMARY_KEY": "do not start", "SECRET_KEY_BASE": "session", "VAPID_PUBLIC_KEY": "push",
	} {
		w := mustLoad(t, strings.Replace(secrets, key+"=", key+"=''#", 1)).Warnings
		if len(w) != 1 || !strings.HasPrefix(w[0], key+" missing") || !strings.Contains(w[0], want) {
			t.Errorf("without %s: %q", key, w)
		}
	}
	w := mustLoad(t, secrets+"[smtp]\n").Warnings
	if len(w) != 1 || !strings.Contains(w[0], "not an assignment") {
		t.Errorf("a line that is none: %q", w)
	}
}

// The files that Mastodon loads beside .env.production are read in its order, and kept.
func TestLoadFiles(t *testing.T) {
	inst := mustLoad(t, secrets+"DB_NAME=production\nDB_HOST=h\n")
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(inst.Dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(".env", "DB_PASS=plain\nDB_NAME=plain\nDB_USER=plain\n")
	write(".env.local", "DB_NAME=local\nDB_PORT=5433\n")
	write(".env.production.local", "DB_PORT=5434\n")
	write(".env.development", "DB_HOST=no\n")
	got, err := Load(inst.Dir, "", Addresses{})
	if err != nil {
		t.Fatal(err)
	}
	want := Database{Host: "h", Port: 5434, Name: "local", User: "plain", Password: "plain", SSLMode: "prefer", Params: map[string]string{}}
	if !reflect.DeepEqual(got.Database, want) || len(got.Warnings) != 0 {
		t.Errorf("got %v %q, want %v; warnings %q", got.Database, got.Database.Password, want, got.Warnings)
	}
	var names []string
	for _, f := range got.Others {
		names = append(names, filepath.Base(f.Path))
		if data, err := os.ReadFile(f.Path); err != nil || string(data) != string(f.Data) || f.Mode != 0o600 {
			t.Errorf("%s is kept as %q, mode %o: %v", f.Path, f.Data, f.Mode, err)
		}
	}
	if strings.Join(names, " ") != ".env.production.local .env.local .env" || string(got.Env) != string(inst.Env) {
		t.Errorf("kept %q", names)
	}
	// What is in doubt counts where it is needed.
	write(".env", "DB_PASS=$(pass)\nSMTP_PASSWORD=$(pass)\n")
	if _, err := Load(inst.Dir, "", Addresses{}); err == nil || !strings.Contains(err.Error(), "DB_PASS holds a shell command, which is not run, on line 1 of .env") {
		t.Errorf("got %v", err)
	}
	// A directory of that name is nothing to dotenv.
	if err := os.Remove(filepath.Join(inst.Dir, ".env")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(inst.Dir, ".env"), 0o755); err != nil {
		t.Fatal(err)
	}
	if got, err := Load(inst.Dir, "", Addresses{}); err != nil || len(got.Others) != 2 || len(got.Warnings) != 1 {
		t.Errorf("a directory: %v", err)
	}
}

// Bad settings get one error that names the variable and has a cause where something can be done, and no secret.
func TestLoadErrors(t *testing.T) {
	for _, c := range []struct{ env, want string }{
		{"", "LOCAL_DOMAIN is not set"},
		{"LOCAL_DOMAIN=https://a.example", "LOCAL_DOMAIN is not a domain"},
		{"LOCAL_DOMAIN=..", "LOCAL_DOMAIN is not a domain"},
		{"LOCAL_DOMAIN=$(hostname)", "LOCAL_DOMAIN"},
		{"LOCAL_DOMAIN=a\nDB_PASS=$(pass hunter2)", "DB_PASS holds a shell command, which is not run, on line 2"},
		{"LOCAL_DOMAIN=a\nDB_PORT=hunter2", "DB_PORT: the port is not a number"},
		{"LOCAL_DOMAIN=a\nDB_PORT=70000", "DB_PORT: the port is not a number"},
		{"LOCAL_DOMAIN=a\nDB_SSLMODE=hunter2", "sslmode"},
		{"LOCAL_DOMAIN=a\nDB_HOST=fine\nDATABASE_URL=hunter2", "DATABASE_URL: not a postgresql:// URL"},
		{"LOCAL_DOMAIN=a\nDATABASE_URL=mysql://hunter2", "DATABASE_URL: not a postgresql:// URL"},
		{"LOCAL_DOMAIN=a\nDATABASE_URL=postgres://u:hunter2@x@h/n", "DATABASE_URL: the URL has more than one @"},
		{"LOCAL_DOMAIN=a\nDATABASE_URL='postgres://u:hunter2#x@h/n'", "DATABASE_URL: a character in the URL"},
		{"LOCAL_DOMAIN=a\nDATABASE_URL=postgres://u:hunter2/x@h/n", "DATABASE_URL: "},
		{"LOCAL_DOMAIN=a\nDATABASE_URL=postgres://u:hunter2%zz@h/n", "DATABASE_URL: a percent sign"},
		{"LOCAL_DOMAIN=a\nDATABASE_URL=postgres://h:hunter2/n", "DATABASE_URL: the port"},
		{"LOCAL_DOMAIN=a\nDATABASE_URL=postgres://[::1/n", "DATABASE_URL: the address in square brackets"},
		{"LOCAL_DOMAIN=a\nREPLICA_DATABASE_URL=hunter2", "REPLICA_DATABASE_URL: "},
		{"LOCAL_DOMAIN=a\nREDIS_URL=http://hunter2", "REDIS_URL: not a redis:"},
		{"LOCAL_DOMAIN=a\nREDIS_URL='redis://:hunter2 %@h'", "REDIS_URL: not a URL"},
		{"LOCAL_DOMAIN=a\nREDIS_URL='redis://:hunter2#x@h'", "REDIS_URL: "},
		{"LOCAL_DOMAIN=a\nREDIS_URL=redis://h/1?cluster=hunter2", "REDIS_URL: the parameter cluster is unknown"},
		{"LOCAL_DOMAIN=a\nREDIS_URL=redis://h/1?HUNTER2hunter2=1", "REDIS_URL: a parameter behind the ? is unknown"},
		{"LOCAL_DOMAIN=a\nREDIS_URL=redis://h/1?db=2", "REDIS_URL: the URL names two databases"},
		{"LOCAL_DOMAIN=a\nREDIS_URL=redis://h?db=2&db=3", "REDIS_URL: the URL names the database twice"},
		{"LOCAL_DOMAIN=a\nSIDEKIQ_REDIS_URL=unix:///r?sentinel=hunter2", "SIDEKIQ_REDIS_URL: the parameter sentinel is unknown"},
		{"LOCAL_DOMAIN=a\nREDIS_URL=unix://hunter2", "REDIS_URL: a unix: URL"},
		{"LOCAL_DOMAIN=a\nREDIS_URL=redis://h/hunter2", "REDIS_URL: the database"},
		{"LOCAL_DOMAIN=a\nREDIS_PORT=hunter2", "REDIS_PORT: the port"},
		{"LOCAL_DOMAIN=a\nSIDEKIQ_REDIS_URL=hunter2", "SIDEKIQ_REDIS_URL: "},
		{"LOCAL_DOMAIN=a\nREDIS_SENTINEL_MASTER=m\nREDIS_SENTINELS=a,,hunter2:x", "REDIS_SENTINELS is not a list"},
		{"hunter2 LOCAL_DOMAIN=a", "LOCAL_DOMAIN is not set"},
	} {
		_, err := load(t, c.env)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: got error %v, want %q", c.env, err, c.want)
			continue
		}
		if !strings.Contains(err.Error(), ".env.production: ") {
			t.Errorf("%q: the error does not name the file: %v", c.env, err)
		}
		if strings.Contains(told(err), "hunter2") {
			t.Errorf("%q: the error holds a secret: %v", c.env, err)
		}
		if strings.Contains(c.want, "_URL") && CauseOf(err).Cause == "" {
			t.Errorf("%q: no cause", c.env)
		}
	}
}

func TestLoadNoFile(t *testing.T) {
	dir := t.TempDir()
	big := filepath.Join(dir, "big")
	if err := os.WriteFile(big, []byte(strings.Repeat("#", maxEnv+1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	settingsTarget := func(name string) string {
		if filepath.IsAbs(name) {
			return name
		}
		return filepath.Join("..", name)
	}
	for target, want := range map[string]string{
		"": "no such file", "nowhere": "no such file", ".": "not a regular file", "big": "larger than", "fifo": "not a regular file",
		"/dev/zero": "not a regular file", "fifo/x": "not a directory",
	} {
		live := filepath.Join(dir, "live")
		if err := os.Mkdir(live, 0o755); err != nil {
			t.Fatal(err)
		}
		if target != "" {
			if err := os.Symlink(settingsTarget(target), filepath.Join(live, ".env.production")); err != nil {
				t.Fatal(err)
			}
		}
		_, err := Load(live, "", Addresses{})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), filepath.Join(live, ".env.production")) {
			t.Errorf("settings that lead to %q: got %v, want %q", target, err, want)
		}
		if err := os.RemoveAll(live); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Load(filepath.Join(dir, "absent"), "", Addresses{}); CauseOf(err).Cause != CauseNoLive {
		t.Errorf("an absent directory: %v, %v", err, CauseOf(err))
	}
	if _, err := Load(big, "", Addresses{}); err == nil || !strings.Contains(err.Error(), "is not a directory") {
		t.Errorf("a file for a directory: %v", err)
	}
}

// Printing an instance, however it is done, shows no password.
func TestNoPasswordPrinted(t *testing.T) {
	inst := mustLoad(t, "DB_PASS=hunter2\nREDIS_URL=redis://:hunter2@h\nSIDEKIQ_REDIS_URL=redis://:hunter2@q\nREPLICA_DATABASE_URL=postgres://:hunter2@r/x")
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		for _, v := range []any{inst.Database, inst.Redis, &inst.Database, inst.Replica, inst.Sidekiq} {
			if s := fmt.Sprintf(format, v); strings.Contains(s, "hunter2") {
				t.Errorf("%s: %s", format, s)
			}
		}
	}
}

// Media that hold Mastodon itself are none.
func TestCheckMedia(t *testing.T) {
	for root, want := range map[string]bool{
		"/": false, "/home": false, "/home/mastodon": false, "/home/mastodon/live": false,
		"/home/mastodon/live/public/system": true, "/home/mastodon/live2": true, "/home/mast": true, "/srv/media": true, "/home/mastodon/media": true,
	} {
		inst := &Instance{Dir: "/home/mastodon/live", Media: Media{Root: root}}
		if err := inst.CheckMedia(); (err == nil) != want {
			t.Errorf("%s: %v", root, err)
		}
	}
}
