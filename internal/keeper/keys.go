package keeper

import (
	"permafrost/repo/keys"
	"permafrost/repo/ledger"
)

// A NewRepository tells where a repository was made, and which files hold its keys.
type NewRepository struct {
	Repository  string `json:"repository"` // the repository's ID
	Fingerprint string `json:"fingerprint"`
	Recovery    string `json:"recovery_key"`       // the owner's key file
	Writer      string `json:"writer_key"`         // the host's key file
	Instance    string `json:"instance,omitempty"` // whose snapshots the host makes; any where there is none
	AppendOnly  bool   `json:"append_only"`        // the host's key can't remove snapshots
	Location    string `json:"location"`           // the address in full
}

// MessageType returns "init".
func (NewRepository) MessageType() string { return "init" }

// A Key is somebody on the list of keys.
type Key struct {
	Name      string `json:"name"`
	Role      string `json:"role"`               // owner or writer
	Instance  string `json:"instance,omitempty"` // of a writer, the one whose snapshots it makes
	MayForget bool   `json:"may_forget"`
	Kind      string `json:"kind"`               // file, passphrase, or the kind of the recipient
	Weakness  string `json:"weakness,omitempty"` // of that kind
}

// MessageType returns "key".
func (Key) MessageType() string { return "key" }

// NewKey returns an entry of the list of keys as it is told.
func NewKey(p *ledger.Person) Key {
	kind, weak := keyKind(p)
	return Key{
		Name: p.Name, Role: string(p.Role), Instance: p.Instance, MayForget: p.Role == keys.RoleOwner || p.MayForget,
		Kind: kind, Weakness: weak,
	}
}

// keyKind says by what a person opens a keyring, and what is weak about it.
func keyKind(p *ledger.Person) (kind, weak string) {
	switch {
	case p.Recipient == "" && len(p.Keys) > 0:
		return "passphrase", keys.WeakPassphrase
	case len(p.Keys) == 0:
		return "file", ""
	}
	_, kind, weak, err := keys.ParseRecipient(p.Recipient, keys.Prompt{})
	if err != nil {
		return "unknown", ""
	}
	return kind, weak
}
