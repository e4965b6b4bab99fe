package snapshot

import (
	"fmt"
	"testing"

	"permafrost/repo/ledger"
)

// However many directories there are, those that Mastodon makes are told apart.
func TestClassesAreBounded(t *testing.T) {
	var m Media
	for i := range maxSeen + 10 {
		m.classify(fmt.Sprintf("!%d/x", i), 1)
	}
	m.classify("media_attachments/x", 7)
	m.classify("top", 7)
	m.classify("\xff/x", 7)
	m.TrimClasses()
	m.Files, m.Size = maxSeen+20, 1<<20
	if err := m.checkClasses(); err != nil || len(m.Classes) != maxClasses || m.Classes["media_attachments"] != (ledger.Class{Files: 1, Size: 7}) {
		t.Errorf("%d classes, %+v, %v", len(m.Classes), m.Classes["media_attachments"], err)
	}
}
