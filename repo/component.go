package repo

import "permafrost/repo/internal/pack"

// A Component says what a blob is part of. Blobs of different components never share a pack: they age differently, and only [Meta] may
// be read on the host that makes the snapshots.
type Component = pack.Component

// The components.
const (
	Meta     = pack.Meta    // listings and recipes: encrypted to the meta recipient
	Secrets  = pack.Secrets // and all below to the data recipient
	Postgres = pack.Postgres
	Redis    = pack.Redis
	Media    = pack.Media
)

// PackSize is what packs aim at, in stored bytes.
const PackSize = pack.Size
