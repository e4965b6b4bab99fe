// Package keeper holds the verbs of permafrost: functions from options to a result. [Open] opens a repository, and each of the others
// works on one. What is lost, which snapshot looks wrong, whom to trust, when to try again and how things are undone is decided here;
// a command has the flags, the lines that people read, the hints and the exit codes.
//
// # News
//
// While a verb works an [Observer] hears of it: how far each [Phase] is, each [Finding] that somebody may have to do something about,
// and parts of the result as soon as they are known. Errors say what went wrong and on what. They name no flags and no commands.
//
// A verb may have done all its work and have an error to tell: of a snapshot that is kept and looks wrong, or a restore of which the
// target refused files. Then it returns the result beside the error.
//
// # Messages
//
// A [Message] is one line of JSON. Its members and their names are a promise to scripts: docs/json.md has them all, made of
// the types below. The comment on a member that is a number begins with its unit and a colon.
package keeper

import "time"

// A Message is a line of JSON that a command writes.
type Message interface {
	// MessageType returns the value of the line's first member, message_type.
	MessageType() string
}

// A PluginMessage is what an age plugin says, such as that a key waits to be touched. It goes to standard error.
type PluginMessage struct {
	Plugin  string `json:"plugin"` // name, as in age-plugin-NAME
	Message string `json:"message"`
}

// MessageType returns "plugin".
func (PluginMessage) MessageType() string { return "plugin" }

// A Failure tells why a command ends without having done all its work. It is the last line on standard error.
type Failure struct {
	Code    int    `json:"code"` // number: the exit code, as permafrost help exit-codes lists them
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"` // what to do
}

// MessageType returns "error".
func (Failure) MessageType() string { return "error" }

// A Status tells how far a command is, for each component or phase that has moved within the last second.
type Status struct {
	Component string  `json:"component"`             // or the name of a phase
	Files     int64   `json:"files_done,omitempty"`  // files: done so far
	Bytes     int64   `json:"bytes_done"`            // bytes: done so far; of a phase that counts objects, objects
	Total     int64   `json:"bytes_total,omitempty"` // bytes: to be done in all, where that is known; of a phase that counts objects, objects
	Seconds   float64 `json:"seconds_elapsed"`       // seconds: since the component or the phase began
}

// MessageType returns "status".
func (Status) MessageType() string { return "status" }

// Seconds returns a span of time the way messages have it, to the millisecond.
func Seconds(d time.Duration) float64 { return d.Round(time.Millisecond).Seconds() }

// A Version says what program this is.
type Version struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"` // of the source, with "+changes" where it was changed
	Go       string `json:"go"`                 // version of Go that built it
	OS       string `json:"os"`
	Arch     string `json:"arch"`
}

// MessageType returns "version".
func (Version) MessageType() string { return "version" }
