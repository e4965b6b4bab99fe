package source

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// loadAt loads settings with addresses; file is the path of a file with a password.
func loadAt(t *testing.T, env string, at Addresses) (*Instance, error) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, settingsName), []byte("LOCAL_DOMAIN=a.example\n"+secrets+env), 0o600); err != nil {
		t.Fatal(err)
	}
	return Load(dir, "", at)
}

func passwordFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// What permafrost's own configuration says goes before the settings, part by part, and the settings stay as they are.
func TestAddresses(t *testing.T) {
	secret := passwordFile(t, "pa ss\n")
	const variables = "DB_HOST=h\nDB_PORT=6432\nDB_NAME=n\nDB_USER=u\nDB_PASS=p\nPREPARED_STATEMENTS=false\nREDIS_PASSWORD=r\nREDIS_DB=3\n"
	db := Database{Host: "h", Port: 6432, Name: "n", User: "u", Password: "p", SSLMode: "prefer", Params: map[string]string{}, Pooler: true, Elsewhere: true}
	with := func(change func(*Database)) Database { d := db; d.Params = map[string]string{}; change(&d); return d }
	for _, c := range []struct {
		name, env string
		at        PostgresAddress
		want      Database
	}{
		{"port", variables, PostgresAddress{Port: 5432}, with(func(d *Database) { d.Port, d.Pooler = 5432, false })},
		{"host", variables, PostgresAddress{Host: "172.18.0.2"}, with(func(d *Database) { d.Host = "172.18.0.2" })},
		{"socket", variables, PostgresAddress{Host: "/run/postgresql", User: "mastodon"}, with(func(d *Database) { d.Host, d.User = "/run/postgresql", "mastodon" })},
		{"all", variables, PostgresAddress{Host: "a", Port: 1, User: "b", Name: "c", PasswordFile: secret, SSLMode: "require", SSLRootCert: "/ca"},
			Database{Host: "a", Port: 1, User: "b", Name: "c", Password: "pa ss", SSLMode: "require", Params: map[string]string{"sslrootcert": "/ca"}, Elsewhere: true}},
		{"URL", "DATABASE_URL=postgres://u:p@h:6432/n?hostaddr=192.0.2.1&connect_timeout=3", PostgresAddress{Host: "other", Port: 5432},
			with(func(d *Database) {
				d.Host, d.Port, d.Pooler, d.Params = "other", 5432, false, map[string]string{"connect_timeout": "3"}
			})},
		{"what is not asked for may be in doubt", "DB_HOST=h\nDB_PORT=x\nDB_PASS=$(pass db)\nDB_NAME=n\nDB_USER=u\n", PostgresAddress{Port: 5432, PasswordFile: secret},
			with(func(d *Database) { d.Port, d.Password, d.Pooler = 5432, "pa ss", false })},
		{"a URL that is not asked for may be broken", "DATABASE_URL=mysql://x", PostgresAddress{Host: "h", Port: 6432, Name: "n", User: "u", PasswordFile: secret},
			with(func(d *Database) { d.Password = "pa ss" })},
	} {
		t.Run(c.name, func(t *testing.T) {
			inst, err := loadAt(t, c.env, Addresses{Postgres: c.at})
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(inst.Database, c.want) {
				t.Errorf("got %#v %+v, want %#v %+v", inst.Database, inst.Database.Params, c.want, c.want.Params)
			}
			file, err := os.ReadFile(inst.EnvPath)
			if err != nil || !bytes.Equal(file, inst.Env) || !strings.Contains(string(file), c.env) {
				t.Errorf("the settings are not those of the file: %v", err)
			}
		})
	}
}

func TestRedisAddresses(t *testing.T) {
	secret := passwordFile(t, "s3cret")
	const variables = "REDIS_HOST=h\nREDIS_USER=u\nREDIS_PASSWORD=p\nREDIS_DB=3\n"
	const sidekiqs = "SIDEKIQ_REDIS_URL=redis://:q@queues/1\n"
	for _, c := range []struct {
		name, env     string
		at            Addresses
		base, sidekiq *Redis
	}{
		{"host", variables, Addresses{Redis: RedisAddress{URL: "redis://172.18.0.3"}}, &Redis{Network: "tcp", Addr: "172.18.0.3:6379", User: "u", Password: "p", DB: 3, Elsewhere: true}, nil},
		{"all", variables, Addresses{Redis: RedisAddress{URL: "rediss://backup@r:1/0", PasswordFile: secret}}, &Redis{Network: "tcp", Addr: "r:1", TLS: true, User: "backup", Password: "s3cret", Elsewhere: true}, nil},
		{"socket", variables, Addresses{Redis: RedisAddress{URL: "unix:///run/r.sock?db=1"}}, &Redis{Network: "unix", Addr: "/run/r.sock", User: "u", Password: "p", DB: 1, Elsewhere: true}, nil},
		{"password", variables, Addresses{Redis: RedisAddress{PasswordFile: secret}}, &Redis{Network: "tcp", Addr: "h:6379", User: "u", Password: "s3cret", DB: 3, Elsewhere: true}, nil},
		{"past sentinels", "REDIS_SENTINELS=a\nREDIS_SENTINEL_MASTER=m\nREDIS_PASSWORD=p", Addresses{Redis: RedisAddress{URL: "redis://r"}}, &Redis{Network: "tcp", Addr: "r:6379", Password: "p", Elsewhere: true}, nil},
		{"by sentinels", variables, Addresses{Redis: RedisAddress{Sentinels: "a,b:1", SentinelMaster: "m"}},
			&Redis{Network: "tcp", User: "u", Password: "p", DB: 3, Sentinels: []string{"a:26379", "b:1"}, SentinelMaster: "m", SentinelPassword: "p", Elsewhere: true}, nil},
		{"by other sentinels", "REDIS_SENTINELS=a\nREDIS_SENTINEL_MASTER=m\nREDIS_PASSWORD=p\nREDIS_SENTINEL_PASSWORD=q", Addresses{Redis: RedisAddress{Sentinels: "c", SentinelMaster: "n", PasswordFile: secret}},
			&Redis{Network: "tcp", Password: "s3cret", Sentinels: []string{"c:26379"}, SentinelMaster: "n", SentinelPassword: "q", Elsewhere: true}, nil},
		{"past a parameter", "REDIS_URL=redis://:p@h/2?cluster=true", Addresses{Redis: RedisAddress{URL: "redis://r"}}, &Redis{Network: "tcp", Addr: "r:6379", Password: "p", DB: 2, Elsewhere: true}, nil},
		{"Sidekiq's", variables + sidekiqs, Addresses{Sidekiq: RedisAddress{URL: "redis://r:2"}},
			&Redis{Network: "tcp", Addr: "h:6379", User: "u", Password: "p", DB: 3}, &Redis{Network: "tcp", Addr: "r:2", Password: "q", DB: 1, Elsewhere: true}},
		{"Sidekiq's alone moves the base", variables + sidekiqs, Addresses{Redis: RedisAddress{URL: "redis://r:2"}},
			&Redis{Network: "tcp", Addr: "r:2", User: "u", Password: "p", DB: 3, Elsewhere: true}, &Redis{Network: "tcp", Addr: "queues:6379", Password: "q", DB: 1}},
		{"in doubt", "REDIS_URL=http://x", Addresses{Redis: RedisAddress{URL: "redis://r", PasswordFile: secret}}, &Redis{Network: "tcp", Addr: "r:6379", Password: "s3cret", Elsewhere: true}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			inst, err := loadAt(t, c.env, c.at)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(&inst.Redis, c.base) || !reflect.DeepEqual(inst.Sidekiq, c.sidekiq) {
				t.Errorf("got %+v and %+v, want %+v and %+v", printable(&inst.Redis), printable(inst.Sidekiq), printable(c.base), printable(c.sidekiq))
			}
		})
	}
}

// printable is a Redis that prints all of itself.
func printable(r *Redis) any {
	type plain Redis
	return (*plain)(r)
}

func TestMediaAddress(t *testing.T) {
	inst, err := loadAt(t, "PAPERCLIP_ROOT_PATH=/opt/x", Addresses{MediaRoot: "/var/lib/docker/volumes/m/_data/"})
	if err != nil || inst.Media.Root != "/var/lib/docker/volumes/m/_data" {
		t.Errorf("got %q, %v", inst.Media.Root, err)
	}
}

// A bad address is one error that names the table and shows no secret.
func TestAddressErrors(t *testing.T) {
	for _, c := range []struct {
		at   Addresses
		want string
	}{
		{Addresses{Postgres: PostgresAddress{Host: "postgres://u:hunter2@h"}}, "[postgres] host or dbname"},
		{Addresses{Postgres: PostgresAddress{SSLMode: "hunter2"}}, "sslmode"},
		{Addresses{Postgres: PostgresAddress{PasswordFile: passwordFile(t, "")}}, "[postgres] password_file: "},
		{Addresses{Postgres: PostgresAddress{PasswordFile: passwordFile(t, "hunter2\nhunter2\n")}}, "more than one line"},
		{Addresses{Redis: RedisAddress{PasswordFile: "/nonexistent/file"}}, "[redis] password_file: "},
		{Addresses{Redis: RedisAddress{URL: "redis://:hunter2@h"}}, "[redis] url: it must not hold a password"},
		{Addresses{Redis: RedisAddress{URL: "redis://h", Sentinels: "a", SentinelMaster: "m"}}, "[redis] url and sentinels exclude each other"},
		{Addresses{Redis: RedisAddress{Sentinels: "a"}}, "[redis] sentinels and sentinel_master go together"},
		{Addresses{Redis: RedisAddress{SentinelMaster: "m"}}, "[redis] sentinels and sentinel_master go together"},
		{Addresses{Redis: RedisAddress{Sentinels: "a,hunter2:x", SentinelMaster: "m"}}, "[redis] sentinels is not a list"},
		{Addresses{Redis: RedisAddress{URL: "redis://h?cluster=hunter2"}}, "[redis] url: the parameter cluster is unknown"},
		{Addresses{Sidekiq: RedisAddress{URL: "http://hunter2"}}, "[sidekiq] url: not a redis:"},
		{Addresses{Sidekiq: RedisAddress{URL: "redis://h/hunter2"}}, "[sidekiq] url: the database"},
		{Addresses{Sidekiq: RedisAddress{PasswordFile: passwordFile(t, "hunter2")}}, "[sidekiq] password_file is set"},
		{Addresses{MediaRoot: "public/system"}, "[media] root"},
	} {
		_, err := loadAt(t, "", c.at)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(told(err), "hunter2") || strings.Contains(err.Error(), "\n") {
			t.Errorf("got %v (%v), want %q", err, CauseOf(err), c.want)
		}
	}
}

// told is all that a person may get to read of an error.
func told(err error) string { return err.Error() + strings.Join(CauseOf(err).Facts, " ") }

// What a database URL asks for is done, or refused by name; what only Rails knows is passed over.
func TestURLParameters(t *testing.T) {
	for query, want := range map[string]string{
		"service=x": "the parameter service", "servicefile=/x": "the parameter servicefile", "sslpassword=hunter2": "the parameter sslpassword",
		"requiressl=1": "the parameter requiressl", "replication=database": "the parameter replication", "load_balance_hosts=random": "the parameter load_balance_hosts",
		"hostaddr=hunter2": "hostaddr is not an address", "schema=public": "the parameter schema is unknown", "HUNTER2=1": "a parameter behind the ? is unknown",
		"scram_client_key=hunter2": "the parameter scram_client_key", "hostaddr=192.0.2.1&host=/run/postgresql": "hostaddr, and its host",
		"pool=5&timeout=1&prepared_statements=false&encoding=unicode&adapter=postgresql&application_name=x&client_encoding=latin1&variables=x": "",
		"options=-c%20role%3Dx&target_session_attrs=read-write&passfile=/etc/pass&hostaddr=::1&channel_binding=require":                        "",
	} {
		inst, err := loadAt(t, "DATABASE_URL='postgresql://u:p@h/n?"+query+"'", Addresses{})
		if want == "" {
			if err != nil {
				t.Errorf("%s: %v", query, err)
				continue
			}
			for name, value := range map[string]string{"options": "-c role=x", "target_session_attrs": "read-write", "passfile": "/etc/pass", "hostaddr": "::1", "channel_binding": "require"} {
				if got := inst.Database.Params[name]; strings.HasPrefix(query, "options") != (got == value) {
					t.Errorf("%s: %s is %q", query, name, got)
				}
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), "DATABASE_URL") && !strings.Contains(err.Error(), "hostaddr, and") || !strings.Contains(err.Error(), want) || strings.Contains(strings.ToLower(told(err)), "hunter2") {
			t.Errorf("%s: got %v (%v), want %q", query, err, CauseOf(err), want)
		}
		// Where permafrost itself is told server and database, nothing is left that the parameter could choose.
		if strings.HasPrefix(query, "service") {
			if _, err := loadAt(t, "DATABASE_URL='postgresql://u:p@h/n?"+query+"'", Addresses{Postgres: PostgresAddress{Host: "h", Name: "n"}}); err != nil {
				t.Errorf("%s with an address: %v", query, err)
			}
			if CauseOf(err).Cause != CauseParameterRefused {
				t.Errorf("%s: %v", query, CauseOf(err))
			}
		}
	}
}
