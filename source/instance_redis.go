package source

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"permafrost/internal/hostfs"
)

// A Redis says how to reach a Redis server and which of its databases is meant.
type Redis struct {
	Network  string // tcp or unix
	Addr     string // host:port, or the socket's path; "" where sentinels are to be asked
	TLS      bool
	User     string
	Password string
	DB       int

	Sentinels        []string // host:port of each; empty where the server is reached directly
	SentinelMaster   string
	SentinelPassword string

	Elsewhere bool // permafrost's own configuration says where it is, at least in part
	// Dial connects to an address of the settings, where only containers know it. Then nothing that this Redis names is a file of
	// this host. It is nil where this host reaches the server by itself.
	Dial      func(ctx context.Context, u *hostfs.User, network, addr string) (net.Conn, error)
	NoAddress *Reason // why the server's name may have no address; nil if nothing is known
}

// String names the server without its passwords.
func (r Redis) String() string {
	addr := r.Addr
	if r.SentinelMaster != "" {
		addr = fmt.Sprintf("%s by sentinels %s", r.SentinelMaster, strings.Join(r.Sentinels, ", "))
	}
	return fmt.Sprintf("Redis at %s, database %d", addr, r.DB)
}

// GoString is String, so that %#v shows no password either.
func (r Redis) GoString() string { return r.String() }

// same reports whether both are one database of one server.
func (r Redis) same(o Redis) bool {
	return r.Network == o.Network && loopback(r.Addr) == loopback(o.Addr) && r.DB == o.DB &&
		r.SentinelMaster == o.SentinelMaster && slices.Equal(r.Sentinels, o.Sentinels)
}

// loopback gives the usual names of this host's own Redis one spelling.
func loopback(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err == nil && (host == "localhost" || host == "::1") {
		return net.JoinHostPort("127.0.0.1", port)
	}
	return addr
}

const (
	redisPort    = "6379"
	sentinelPort = "26379"
)

// redises returns the base Redis, and Sidekiq's where that is another one. CACHE_REDIS_* is a cache. What at says goes before
// the variables.
func (e *environ) redises(at *Addresses) (base Redis, sidekiq *Redis, err error) {
	base = Redis{Network: "tcp", Addr: net.JoinHostPort("localhost", redisPort)}
	if !at.Redis.whole() {
		b, err := e.redis("", at.Redis.server())
		if err != nil {
			return base, nil, err
		}
		if b != nil {
			base = *b
		}
	}
	if !at.Sidekiq.whole() {
		if sidekiq, err = e.redis("SIDEKIQ_", at.Sidekiq.server()); err != nil {
			return base, nil, err
		}
		if sidekiq != nil && sidekiq.same(base) {
			sidekiq = nil
		}
	}
	if err := at.Redis.apply("redis", &base); err != nil {
		return base, nil, err
	}
	if at.Sidekiq == (RedisAddress{}) {
		return base, sidekiq, nil
	}
	if sidekiq == nil && at.Sidekiq.URL == "" {
		return base, nil, errors.New("[sidekiq] password_file is set, and Sidekiq's queues are in the Redis that [redis] names")
	}
	if sidekiq == nil {
		copied := base
		sidekiq = &copied
	}
	if err := at.Sidekiq.apply("sidekiq", sidekiq); err != nil {
		return base, nil, err
	}
	if sidekiq.same(base) {
		sidekiq = nil
	}
	return base, sidekiq, nil
}

// redis puts together the Redis of one prefix; nil where neither URL nor host nor sentinels name one, which
// for SIDEKIQ_ means the base Redis. A prefix inherits nothing: a password of the base is not tried on it. Where elsewhere is true
// the server is not the one that is given here.
func (e *environ) redis(prefix string, elsewhere bool) (*Redis, error) {
	prefix += "REDIS_"
	if raw := e.get(prefix + "URL"); raw != "" {
		r, err := parseRedisURL(raw, 0, elsewhere)
		if err != nil {
			return nil, becauseUnless(CauseRedisURL, fmt.Errorf("%sURL: %w", prefix, err))
		}
		return r, nil
	}
	host := e.get(prefix + "HOST")
	if prefix == "REDIS_" && host == "" {
		host = "localhost"
	}
	r := &Redis{Network: "tcp", User: e.get(prefix + "USER"), Password: e.get(prefix + "PASSWORD")}
	var err error
	if db := e.get(prefix + "DB"); db != "" {
		if r.DB, err = parseDB(db); err != nil {
			return nil, fmt.Errorf("%sDB: %w", prefix, err)
		}
	}
	if err := e.sentinels(prefix, r); err != nil {
		return nil, err
	}
	if r.SentinelMaster != "" {
		return r, nil
	}
	if host == "" {
		return nil, nil
	}
	if strings.Contains(host, "@") { // and a password, which would show in messages
		return nil, Because(CauseRedisHost, fmt.Errorf("%sHOST is not a name", prefix), prefix+"URL")
	}
	port := e.get(prefix + "PORT")
	if port == "" {
		port = redisPort
	}
	if _, err := parsePort(port); err != nil {
		return nil, fmt.Errorf("%sPORT: %w", prefix, err)
	}
	r.Addr = net.JoinHostPort(strings.Trim(host, "[]"), port)
	return r, nil
}

// sentinels fills in the sentinels of one prefix; master and list are both needed, or neither counts.
func (e *environ) sentinels(prefix string, r *Redis) error {
	master, list := e.get(prefix+"SENTINEL_MASTER"), e.get(prefix+"SENTINELS")
	if master == "" || list == "" {
		return nil
	}
	otherwise := e.get(prefix + "SENTINEL_PORT")
	if otherwise == "" {
		otherwise = sentinelPort
	}
	var err error
	if r.Sentinels, err = parseSentinels(list, otherwise); err != nil {
		return fmt.Errorf("%sSENTINELS %w", prefix, err)
	}
	r.SentinelMaster = master
	var set bool
	if r.SentinelPassword, set = e.lookup(prefix + "SENTINEL_PASSWORD"); !set {
		r.SentinelPassword = r.Password
	}
	return nil
}

// parseSentinels reads a list like host1:26379,host2. Its errors quote nothing of it.
func parseSentinels(list, otherwise string) (addrs []string, err error) {
	for s := range strings.SplitSeq(list, ",") {
		host, port, err := splitHostPort(strings.TrimSpace(s))
		if port == "" {
			port = otherwise
		}
		if err == nil {
			_, err = parsePort(port)
		}
		if err != nil || host == "" {
			return nil, errors.New("is not a list like host1:26379,host2:26379")
		}
		addrs = append(addrs, net.JoinHostPort(host, port))
	}
	return addrs, nil
}

// passedByRedis are parameters of a URL that clients take, and that choose neither server, database nor credentials.
var passedByRedis = []string{"timeout", "connect_timeout", "read_timeout", "write_timeout", "reconnect_attempts", "keepalive", "family"}

// queriedDB returns the database that a URL's parameters name, or "". A parameter that is not known is an error, where the server is
// not elsewhere: it may choose another one.
func queriedDB(u *url.URL, elsewhere bool) (string, error) {
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return "", errors.New("what stands behind the ? is not percent-encoded")
	}
	for _, name := range slices.Sorted(maps.Keys(query)) {
		switch {
		case name == "db" && len(query[name]) > 1:
			return "", errors.New("the URL names the database twice")
		case name == "db" || slices.Contains(passedByRedis, name) || elsewhere:
		case isParamName(name): // else it may be half of an unencoded password
			return "", Because(CauseRedisParameter, fmt.Errorf("the parameter %s is unknown", name))
		default:
			return "", Because(CauseRedisHidden, errors.New("a parameter behind the ? is unknown"))
		}
	}
	return query.Get("db"), nil
}

// parseRedisURL reads a redis:, rediss: or unix: URL, which may leave the database out. Where elsewhere is true the server is not
// the one that it names. Its errors quote nothing of the URL but the name of a parameter.
func parseRedisURL(raw string, database int, elsewhere bool) (*Redis, error) {
	u, err := url.Parse(strings.TrimSpace(raw))
	if err != nil {
		return nil, errors.New("not a URL")
	}
	if u.Fragment != "" {
		return nil, errors.New("a # in the URL is not percent-encoded")
	}
	if strings.Contains(u.RawQuery, "@") {
		return nil, errors.New("a ? or an @ in the URL is not percent-encoded")
	}
	r := &Redis{Network: "tcp", User: u.User.Username(), DB: database}
	password, set := u.User.Password()
	if r.Password = password; !set {
		// A lone name before the @ is the password: redis://secret@host.
		r.User, r.Password = "", r.User
	}
	db, err := queriedDB(u, elsewhere)
	if err != nil {
		return nil, err
	}
	switch u.Scheme {
	case "unix":
		r.Network, r.Addr = "unix", u.Path
		if !strings.HasPrefix(r.Addr, "/") || u.Host != "" {
			return nil, errors.New("a unix: URL wants an absolute path")
		}
	case "redis", "rediss":
		r.TLS = u.Scheme == "rediss"
		port := u.Port()
		if port == "" {
			port = redisPort
		}
		host := u.Hostname()
		if host == "" {
			host = "localhost"
		}
		if u.Opaque != "" {
			return nil, errors.New("two slashes are missing behind the scheme")
		}
		if _, err := parsePort(port); err != nil {
			return nil, err
		}
		r.Addr = net.JoinHostPort(host, port)
		if path := strings.Trim(u.Path, "/"); path != "" {
			if db != "" && db != path {
				return nil, errors.New("the URL names two databases")
			}
			db = path
		}
	default:
		return nil, errors.New("not a redis:, rediss: or unix: URL")
	}
	if db != "" {
		if r.DB, err = parseDB(db); err != nil {
			return nil, err
		}
	}
	return r, nil
}

func parseDB(s string) (int, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil {
		return 0, errors.New("the database is not a number")
	}
	return int(n), nil
}
