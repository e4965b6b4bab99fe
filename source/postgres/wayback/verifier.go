package wayback

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

const (
	scramIterations = 4096 // PostgreSQL's own number, as long as scram_iterations is not set
	scramSalt       = 16   // bytes, as PostgreSQL makes them

	maxPassword = 1023 // bytes: PostgreSQL 12 and 13 take no longer one from a client
)

// Verifier returns what a server stores of a password, in PostgreSQL's form of RFC 5803:
//
//	SCRAM-SHA-256$ITERATIONS:SALT$STOREDKEY:SERVERKEY
//
// A server that is given this in ALTER ROLE never sees the password, and its log does not either. A password that server and
// client would prepare (RFC 4013) to become another text is refused: psql's \password sets it.
func Verifier(password string) (string, error) {
	if password == "" || len(password) > maxPassword || strings.ContainsRune(password, 0) {
		return "", fmt.Errorf("a password of %d bytes, or with a NUL: PostgreSQL takes 1 to %d", len(password), maxPassword)
	}
	if utf8.ValidString(password) && (!norm.NFKC.IsNormalString(password) || strings.ContainsFunc(password, isPrepared)) {
		return "", errors.New("the password has characters that clients write in another form, such as ligatures or spaces that are no common space")
	}
	salt := make([]byte, scramSalt)
	rand.Read(salt)
	return verifier(password, salt)
}

// isPrepared reports whether a password's preparation replaces or removes a character: spaces and invisible ones.
func isPrepared(r rune) bool {
	return r >= utf8.RuneSelf && (unicode.IsSpace(r) || unicode.In(r, unicode.Z, unicode.Cf, unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point))
}

func verifier(password string, salt []byte) (string, error) {
	salted, err := pbkdf2.Key(sha256.New, password, salt, scramIterations, sha256.Size)
	if err != nil {
		return "", err
	}
	stored := sha256.Sum256(keyed(salted, "Client Key"))
	b64 := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("SCRAM-SHA-256$%d:%s$%s:%s", scramIterations, b64(salt), b64(stored[:]), b64(keyed(salted, "Server Key"))), nil
}

func keyed(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}
