// Package deploy finds out how an instance's services run: as units of systemd, or as services of a Compose project. No other
// package decides that.
//
// Containers are found by the engine's own command, docker or podman: whoever has containers has it, and it knows contexts
// and rootless engines. An instance belongs to the project whose working directory is its live directory; Compose's labels
// on containers tell that. The services of that project come before DNS: a resolver with a search domain may have another
// server of the name db.
//
// A server is reached by the first of these ways that works:
//
//	address    the container's, where this host has a way to it. The kernel's table of the container's connections proves that
//	           the other end is that container
//	namespace  the same address from within the container's network namespace; for root alone
//	exec       a program in the container that passes bytes on
//
// What counts is what the engine says, and a process of root obeys root's engine alone: an engine that another user runs could
// name any process and any directory of this host. No process is taken for a container's that is not in its control group.
package deploy
