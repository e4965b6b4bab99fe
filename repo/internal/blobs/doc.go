// Package blobs reads blobs from where one state of the index says they are.
//
// A [Reader] fetches the parts of packs that it needs, several packs at once, decrypts them, and verifies each blob. It refuses a pack
// that was written for another instance than the one that it is listed for.
package blobs
