package source

// A RedisLogin is how Mastodon logs in to a Redis, and what its keys begin with.
type RedisLogin struct {
	User      string // "" is the default user
	Password  string
	Namespace string // REDIS_NAMESPACE, without the colon behind it
}

// LoadRedisLogin reads from a settings file, as LoadDatabase does, how Mastodon logs in to its Redis, or to that of Sidekiq's
// queues. Where sentinels name the server this is the login for what they name.
func LoadRedisLogin(file string, sidekiq bool) (RedisLogin, error) {
	env, err := loadEnviron(file)
	if err != nil {
		return RedisLogin{}, err
	}
	base, queues, err := env.redises(&Addresses{})
	if sidekiq && queues != nil {
		base = *queues
	}
	l := RedisLogin{User: base.User, Password: base.Password, Namespace: env.get("REDIS_NAMESPACE")}
	if err == nil {
		err = env.err
	}
	return l, err
}
