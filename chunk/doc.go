// Package chunk cuts byte streams into chunks where their content says so, and names byte strings by a
// keyed hash. It does no I/O but reading the stream that it is given.
package chunk
