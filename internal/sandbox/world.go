package sandbox

import (
	"math/bits"
	"strconv"
	"strings"
	"time"
)

// world is what an instance holds, as a pure function of a seed and of an
// index: each account, status and file can be made at any time, in any order,
// and is always the same. Whatever belongs to statuses grows with them.
type world struct {
	seed     uint64
	statuses int // made so far, the deleted ones included

	// Fixed when the instance is made.
	first    int // statuses at the start
	accounts int // the first locals of them are local
	locals   int
	tags     int
	emojis   int
	stride   int // one attachment for each stride statuses …
	cards    int // … and one preview card for each cards statuses
	pictures int // accounts with an avatar, a quarter of them with a header

	oldMedia int // attachments and cards of lower index have no file any more
	oldCards int
}

// domain is the instance's own.
const domain = "mastodon.example"

// dawn is when an instance is made; history is how far its statuses reach
// back, at as many a day as a day of churn adds.
var dawn = time.Date(2026, 6, 26, 3, 0, 0, 0, time.UTC)

const (
	daily   = 250 // a day of churn adds 1/250 of all statuses
	history = daily * 24 * time.Hour
	ages    = 3 * 365 * 24 * time.Hour // since the first account
)

// newWorld plans an instance of about that many statuses and media files.
func newWorld(seed uint64, statuses, files int) *world {
	statuses = max(statuses, 100)
	w := &world{
		seed: seed, statuses: statuses, first: statuses,
		tags:     max(20, statuses/50),
		emojis:   max(4, files/40), // 2 files each
		pictures: files / 5,        // 1.25 files each
		cards:    10,
	}
	w.accounts = max(40, statuses/20, w.pictures)
	w.locals = min(w.accounts/2, max(20, statuses/1000))
	// Two files an attachment, one a card; a seventh of the statuses are boosts,
	// which have neither.
	attachments := files * 7 / 24
	w.stride = max(1, min(5, statuses/max(1, attachments)))
	w.oldMedia = max(0, statuses/w.stride-attachments)
	w.oldCards = max(0, statuses/w.cards-files*7/30)
	return w
}

// A kind keeps the random numbers of one purpose apart from all others.
type kind uint64

const (
	kindAccount kind = iota + 1
	kindAuthor
	kindStatus
	kindThread
	kindText
	kindMedia
	kindCard
	kindEmoji
	kindTag
	kindKey
	kindFollow
	kindFavourite
	kindMention
	kindToken
	kindFile
	kindFeed
	kindJob
	kindEnv
	kindDoom
	kindDay
)

// rng is a SplitMix64 generator.
type rng uint64

func (r *rng) next() uint64 {
	*r += 0x9e3779b97f4a7c15
	z := uint64(*r)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// below returns a number in [0, n).
func (r *rng) below(n int) int {
	hi, _ := bits.Mul64(r.next(), uint64(n))
	return int(hi)
}

// between returns a number in [low, high].
func (r *rng) between(low, high int) int { return low + r.below(high-low+1) }

// chance is true once in n times.
func (r *rng) chance(n int) bool { return r.below(n) == 0 }

// hex returns 2n hexadecimal digits.
func (r *rng) hex(n int) string {
	const digits = "0123456789abcdef"
	out := make([]byte, 2*n)
	for i := range out {
		out[i] = digits[r.next()>>60]
	}
	return string(out)
}

// base64 returns n characters of random base64.
func (r *rng) base64(n int) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	out := make([]byte, n)
	for i := range out {
		out[i] = alphabet[r.next()>>58]
	}
	return string(out)
}

// rand returns the generator of the k-th thing of a kind.
func (w *world) rand(kind kind, k int) *rng {
	seed := rng(w.seed)
	r := rng(seed.next() ^ uint64(kind)<<56 ^ uint64(k))
	r = rng(r.next())
	return &r
}

// snowflake is an ID as Mastodon makes them: milliseconds, then 16 bits.
func snowflake(t time.Time, low uint64) int64 {
	return t.UnixMilli()<<16 | int64(low&0xffff)
}

func (w *world) statusTime(k int) time.Time {
	return dawn.Add(time.Duration(k-w.first) * (history / time.Duration(w.first)))
}

func (w *world) statusID(k int) int64 {
	return snowflake(w.statusTime(k), w.rand(kindStatus, k).next())
}

func (w *world) accountTime(k int) time.Time {
	return dawn.Add(-ages + time.Duration(k)*(ages/time.Duration(w.accounts)))
}

func (w *world) accountID(k int) int64 {
	return snowflake(w.accountTime(k), w.rand(kindAccount, k).next())
}

// username is the k-th account's name.
func (w *world) username(k int) string {
	if k == markedAccount {
		return Markers.Account
	}
	return word(w.rand(kindAccount, k).below(vocabulary)) + strconv.Itoa(k)
}

// host is the server the k-th account lives on.
func (w *world) host(k int) string {
	if k < w.locals {
		return domain
	}
	r := w.rand(kindAccount, k)
	r.next()
	n := r.below(200) * r.below(200) / 200 // few servers have many accounts
	return "social-" + strconv.Itoa(n) + ".example"
}

// author is the account that wrote the k-th status: a tenth are local, and few
// accounts write much.
func (w *world) author(k int) int {
	r := w.rand(kindAuthor, k)
	if k == markedStatus {
		return markedAccount
	}
	if r.chance(10) {
		return r.below(w.locals)
	}
	n := w.accounts - w.locals
	return w.locals + r.below(n)*r.below(n)/n
}

// reblogs tells which status the k-th one boosts, if it is a boost.
func (w *world) reblogs(k int) (of int, ok bool) {
	r := w.rand(kindThread, k)
	if k < 100 || !r.chance(7) {
		return 0, false
	}
	of = k - 1 - r.below(min(k-1, 5000))
	if _, twice := w.reblogs(of); twice || of == markedStatus || w.doomed(of) {
		return 0, false
	}
	return of, true
}

// answers tells which status the k-th one replies to, if it is a reply.
func (w *world) answers(k int) (to int, ok bool) {
	if _, boost := w.reblogs(k); boost || k < 100 {
		return 0, false
	}
	r := w.rand(kindThread, k)
	r.next()
	r.next()
	if r.below(10) >= 4 {
		return 0, false
	}
	to = k - 1 - r.below(50)
	if _, boost := w.reblogs(to); boost || w.doomed(to) {
		return 0, false
	}
	return to, true
}

// doomed tells whether the k-th status will be deleted one day. Nobody boosts
// or answers it, so that its end leaves no gaps.
func (w *world) doomed(k int) bool {
	return k >= 100 && w.rand(kindDoom, k).chance(50)
}

// conversation is the ID of the thread that the k-th status belongs to, and
// whether it starts there.
func (w *world) conversation(k int) (id int, starts bool) {
	starts = true
	for {
		to, ok := w.answers(k)
		if !ok {
			return k + 1, starts
		}
		k, starts = to, false
	}
}

// attachment is the index of the file that the k-th status bears, if any.
func (w *world) attachment(k int) (m int, ok bool) {
	if _, boost := w.reblogs(k); boost || k%w.stride != 0 {
		return 0, false
	}
	return k / w.stride, true
}

// mediaID is the ID of the m-th attachment.
func (w *world) mediaID(m int) int64 {
	return snowflake(w.statusTime(m*w.stride), w.rand(kindMedia, m).next())
}

// card is the ID of the preview card that the k-th status made, if any.
func (w *world) card(k int) (id int, ok bool) {
	if _, boost := w.reblogs(k); boost || k%w.cards != 1 {
		return 0, false
	}
	return k/w.cards + 1, true
}

// partition is Paperclip's directory of an ID: groups of three digits.
func partition(id int64) string {
	digits := strconv.FormatInt(id, 10)
	if pad := 9 - len(digits); pad > 0 {
		digits = strings.Repeat("0", pad) + digits
	}
	if pad := (3 - len(digits)%3) % 3; pad > 0 {
		digits = strings.Repeat("0", pad) + digits
	}
	var parts []string
	for ; digits != ""; digits = digits[3:] {
		parts = append(parts, digits[:3])
	}
	return strings.Join(parts, "/")
}
