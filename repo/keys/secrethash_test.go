package keys

import (
	"testing"

	"permafrost/repo/store"
)

// The hash of a secret is the same for whoever holds a keyring, after a rotation too, and of each instance, name, value and
// repository another.
func TestSecretHash(t *testing.T) {
	owner, err := NewOwner()
	if err != nil {
		t.Fatal(err)
	}
	writer, err := owner.NewWriter("web1")
	if err != nil {
		t.Fatal(err)
	}
	other, err := NewOwner()
	if err != nil {
		t.Fatal(err)
	}
	want := owner.SecretHash("a.example", "OTP_SECRET", "x")
	if writer.SecretHash("a.example", "OTP_SECRET", "x") != want {
		t.Error("the writer's hash is another")
	}
	e, err := owner.NewEpoch()
	if err != nil {
		t.Fatal(err)
	}
	if err := owner.AddEpoch(e); err != nil {
		t.Fatal(err)
	}
	if owner.SecretHash("a.example", "OTP_SECRET", "x") != want {
		t.Error("after a rotation it is another")
	}
	for name, h := range map[string]store.Name{
		"value":      owner.SecretHash("a.example", "OTP_SECRET", "y"),
		"name":       owner.SecretHash("a.example", "SECRET_KEY_BASE", "x"),
		"instance":   owner.SecretHash("b.example", "OTP_SECRET", "x"),
		"border":     owner.SecretHash("a.example", "OTP_SECRETx", ""),
		"repository": other.SecretHash("a.example", "OTP_SECRET", "x"),
	} {
		if h == want {
			t.Errorf("%s: the same hash", name)
		}
	}
}
