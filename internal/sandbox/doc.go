// Package sandbox runs real servers for tests, the demonstration and the
// benchmark: PostgreSQL, Redis and OpenSSH, each by itself, and a small
// Mastodon instance made of them.
//
// Every server is private: it listens on 127.0.0.1 only, at a port that was
// free, keeps all it has below a directory that the caller owns, and dies with
// the process that started it. A context given to a Start function bounds the
// start alone; Stop ends the server.
//
// Nothing here is fit for production: passwords stand in files of the sandbox,
// and a crash of the machine may lose what a server acknowledged.
package sandbox
