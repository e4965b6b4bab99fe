package source

import "errors"

// A Cause says what an error is about, and which facts its CauseError has. What a person can do about it is for the program to
// say that the person runs. The packages below this one have causes of their own.
type Cause string

// Causes in permafrost's own configuration of an instance.
const (
	CauseAddressURL     Cause = "source: address is a URL"  // a URL is where a host's or a database's name belongs
	CauseAddressSSLMode Cause = "source: address's sslmode" // [postgres] sslmode is none of the facts
	CauseRedisAddress   Cause = "source: Redis's address"   // the URL of [redis] or [sidekiq] can't be read
	CauseSentinels      Cause = "source: sentinels"         // so do its sentinels
	CausePasswordFile   Cause = "source: password file"     // the file does not hold a password, or can't be read
	CauseMediaRoot      Cause = "source: media root"        // [media] root is not an absolute path
)

// Causes in the search for the instance and its user.
const (
	CauseNoLive        Cause = "source: no live directory" // the live directory can't be opened
	CauseUserUnclear   Cause = "source: user unclear"      // it is not clear which user Mastodon runs as
	CauseNotRoot       Cause = "source: not root"          // only root can act as another user
	CauseNotMediaAlone Cause = "source: not media alone"   // the media directory holds Mastodon itself
)

// Causes in reading the settings files.
const (
	CauseNoSettings       Cause = "source: no settings"       // the live directory has no settings file
	CauseSettingsOfUser   Cause = "source: settings of user"  // Mastodon's user may not read them
	CauseSettingsDenied   Cause = "source: settings denied"   // the user of this process may not read them
	CauseSettingsOwner    Cause = "source: settings' owner"   // they belong to neither root nor Mastodon's user
	CauseSettingsWritable Cause = "source: settings writable" // the fact: a settings file that others may write
	CauseRestoredSettings Cause = "source: restored settings" // restored settings can't be read
	CauseValueUnknown     Cause = "source: value unknown"     // what a variable stands for can't be known
	CauseNoDomain         Cause = "source: no domain"         // LOCAL_DOMAIN is not set
)

// Causes in what the settings files say.
const (
	CauseDatabaseName     Cause = "source: database's name"          // a URL is in DB_HOST or DB_NAME
	CauseTwoHosts         Cause = "source: two hosts"                // a URL has a hostaddr and the directory of a socket
	CauseSSLMode          Cause = "source: sslmode"                  // it is none of the facts
	CauseDatabaseURL      Cause = "source: database's URL"           // it can't be read
	CauseParameterRefused Cause = "source: parameter refused"        // a parameter of the database's URL chooses what permafrost does not
	CauseParameterUnknown Cause = "source: parameter unknown"        // a parameter of the database's URL is not known
	CauseParameterHidden  Cause = "source: parameter hidden"         // and its name may be part of a password
	CauseRedisHost        Cause = "source: Redis's host"             // a URL is in the place of a name; the fact: the variable for URLs
	CauseRedisURL         Cause = "source: Redis's URL"              // it can't be read
	CauseRedisParameter   Cause = "source: Redis's parameter"        // a parameter of Redis's URL is not known
	CauseRedisHidden      Cause = "source: Redis's parameter hidden" // and its name may be part of a password
)

// A Reason is a cause with its facts.
type Reason struct {
	Cause Cause
	Facts []string // as the cause's documentation tells
}

// Of returns err with the reason as its cause.
func (r Reason) Of(err error) error { return &CauseError{r, err} }

// A CauseError is an error and its cause. Its text is the error's alone.
type CauseError struct {
	Reason
	Err error
}

func (e *CauseError) Error() string { return e.Err.Error() }
func (e *CauseError) Unwrap() error { return e.Err }

// Because returns err with a cause.
func Because(c Cause, err error, facts ...string) error { return Reason{c, facts}.Of(err) }

// becauseUnless is Because, and returns err as it is where it has a cause already.
func becauseUnless(c Cause, err error) error {
	if CauseOf(err).Cause != "" {
		return err
	}
	return Because(c, err)
}

// CauseOf returns the cause of an error and its facts, the outermost where it has several; "" where it has none.
func CauseOf(err error) Reason {
	if e := (*CauseError)(nil); errors.As(err, &e) {
		return e.Reason
	}
	return Reason{}
}
