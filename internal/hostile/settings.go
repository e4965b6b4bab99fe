package hostile

import (
	"fmt"
	"math/rand/v2"
	"net/url"
	"strings"
)

// Settings returns a .env.production such as Mastodon's user may write. What it names as files are the paths, and as servers
// the addresses, HOST:PORT.
func Settings(r *rand.Rand, paths, addresses []string) []byte {
	g := &settings{r, paths, addresses}
	if r.IntN(2) == 0 {
		return g.plausible()
	}
	var b strings.Builder
	if r.IntN(10) > 0 {
		b.WriteString("LOCAL_DOMAIN=a.example\n")
	}
	for range r.IntN(12) {
		b.WriteString(g.line())
	}
	text := []byte(b.String())
	if len(text) > 0 && r.IntN(20) == 0 {
		text[r.IntN(len(text))] ^= 1 << r.IntN(8)
	}
	return text
}

type settings struct {
	r         *rand.Rand
	paths     []string
	addresses []string
}

func of[T any](r *rand.Rand, all ...T) T { return all[r.IntN(len(all))] }

// plausible returns settings that are in order as far as their grammar goes, so that what they name is looked for.
func (g *settings) plausible() []byte {
	r := g.r
	path := func() string { return of(r, g.paths...) }
	address := of(r, g.addresses...)
	var b strings.Builder
	fmt.Fprintf(&b, "LOCAL_DOMAIN=a.example\nDATABASE_URL='postgresql://u@%s/n?sslmode=%s", address, of(r, "disable", "prefer", "require", "verify-full"))
	for _, name := range []string{"sslcert", "sslkey", "sslrootcert", "passfile", "host"} {
		if r.IntN(3) == 0 || name == "sslkey" && strings.Contains(b.String(), "&sslcert=") {
			fmt.Fprintf(&b, "&%s=%s", name, path())
		}
	}
	b.WriteString("'\n")
	switch r.IntN(4) {
	case 0:
		fmt.Fprintf(&b, "REDIS_URL='unix://%s'\n", path())
	case 1:
		fmt.Fprintf(&b, "REDIS_URL='%s://%s/0'\n", of(r, "redis", "rediss"), address)
	case 2:
		fmt.Fprintf(&b, "REDIS_HOST='%s'\nREDIS_PORT=1\n", path())
	}
	if r.IntN(2) == 0 {
		fmt.Fprintf(&b, "PAPERCLIP_ROOT_PATH='%s'\n", path())
	}
	if r.IntN(4) == 0 {
		fmt.Fprintf(&b, "DATABASE_URL=\nDB_HOST='%s'\nDB_NAME=n\nDB_PASS='%s'\n", path(), path())
	}
	return []byte(b.String())
}

// line returns an assignment, as a rule.
func (g *settings) line() string {
	r := g.r
	host, port, _ := strings.Cut(of(r, g.addresses...), ":")
	path := of(r, g.paths...)
	name, value := "X", ""
	switch r.IntN(14) {
	case 0, 1, 2:
		name, value = of(r, "DATABASE_URL", "DATABASE_URL", "PRIMARY_DATABASE_URL", "REPLICA_DATABASE_URL"), g.url("postgresql", "postgres", "postgresql", "mysql")
	case 3, 4:
		name, value = of(r, "REDIS_URL", "REDIS_URL", "SIDEKIQ_REDIS_URL", "CACHE_REDIS_URL"), g.url("redis", "rediss", "unix", "http")
	case 5:
		return fmt.Sprintf("DB_HOST=%s\nDB_PORT=%s\n", of(r, host, path, g.odd()), of(r, port, "0", "-1", "99999999999", g.odd()))
	case 6:
		return fmt.Sprintf("REDIS_HOST=%s\nREDIS_PORT=%s\n", of(r, host, path), port)
	case 7:
		name, value = "PAPERCLIP_ROOT_PATH", path
	case 8:
		name, value = of(r, "DB_NAME", "DB_USER", "DB_PASS", "REDIS_PASSWORD", "REDIS_DB", "DB_SSLMODE", "WEB_DOMAIN", "LOCAL_DOMAIN", "REDIS_SENTINELS", "REDIS_SENTINEL_MASTER"), g.odd()
	case 9:
		name, value = of(r, "S3_ENABLED", "SWIFT_ENABLED", "AZURE_ENABLED", "S3_BUCKET", "S3_ENDPOINT"), of(r, "true", "false", g.odd(), path)
	case 10:
		name, value = "A"+fmt.Sprint(r.IntN(5)), strings.Repeat(fmt.Sprintf("${A%d}", r.IntN(5)), 1+r.IntN(2000))
	case 11:
		value = strings.Repeat(Name(r), 1+r.IntN(3000))
	case 12:
		return Name(r) + "\n"
	case 13:
		name, value = Name(r), Name(r)
	}
	return of(r, "", "", "", "export ", "  ", "#", "\ufeff") + name + of(r, "=", "=", "=", " = ", ": ", "==", "") + g.quoted(value) + of(r, "\n", "\n", "\n", "\r\n", "\r", "\x00\n", " # x\n", "")
}

func (g *settings) odd() string {
	return of(g.r, "", "x", "postgres", "dbname=x host=/tmp", "postgresql://h/x", "1", "-1", "$(id)", "`id`", "${DB_NAME}", strings.Repeat("9", 400), Name(g.r), of(g.r, g.paths...))
}

func (g *settings) quoted(value string) string {
	switch g.r.IntN(8) {
	case 0:
		return "'" + value + "'"
	case 1:
		return `"` + value + `"`
	case 2:
		return "'" + value
	case 3:
		return `"` + value
	case 4:
		return `"` + strings.ReplaceAll(value, "", `\`) + `"`
	}
	return value
}

// url returns the address of a server with parameters, of which many name files.
func (g *settings) url(schemes ...string) string {
	r := g.r
	path := func() string { return of(r, g.paths...) }
	u := of(r, schemes...) + "://" + of(r, "", "u@", "u:p@", ":p@", "u:%zz@", url.PathEscape(Name(r))+"@")
	u += of(r, of(r, g.addresses...), of(r, g.addresses...), "", url.PathEscape(path()), strings.Join(g.addresses, ",")) + of(r, "/n", "/0", "/", "", path())
	var params []string
	for range r.IntN(5) {
		name := of(r, "sslkey", "sslcert", "sslrootcert", "sslcrl", "passfile", "service", "servicefile", "host", "hostaddr", "port", "options", "sslmode", "connect_timeout",
			"application_name", "target_session_attrs", "krbsrvname", "client_encoding", "db", "timeout", "path")
		value := of(r, path(), path(), path(), "require", "verify-full", "disable", "127.0.0.1", "1", "-c x=y", g.odd())
		params = append(params, name+"="+of(r, value, url.QueryEscape(value)))
	}
	if len(params) > 0 {
		u += "?" + strings.Join(params, "&")
	}
	return u
}
