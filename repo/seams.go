package repo

import "permafrost/repo/keys"

// seal and unseal make and open envelopes. A simulation, which is about the order of things and would do little else than this, puts
// simpler ones in their place.
var (
	seal   = (*keys.Keyring).Seal
	unseal = (*keys.Keyring).Unseal
)
