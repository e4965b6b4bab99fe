package sandbox

import (
	"math"
	"sync"
)

// vocabulary is how many words there are. Their frequencies follow Zipf's law,
// which gives text that compresses about as well as people's.
const vocabulary = 8000

var lexicon = sync.OnceValue(func() (l struct {
	words []string
	pick  [1 << 14]uint16
}) {
	l.words = append(l.words, common...)
	onsets := []string{"b", "br", "c", "ch", "d", "f", "fl", "g", "gr", "h", "k", "l", "m", "n", "p", "pl", "r", "s", "sh", "st", "t", "tr", "v", "w"}
	vowels := []string{"a", "e", "i", "o", "u", "ea", "oo", "ai", "ou"}
	codas := []string{"", "", "", "n", "r", "s", "t", "l", "ck", "nd", "m", "ng"}
	r := rng(1)
	for len(l.words) < vocabulary {
		word := ""
		for range r.between(1, 3) {
			word += onsets[r.below(len(onsets))] + vowels[r.below(len(vowels))] + codas[r.below(len(codas))]
		}
		l.words = append(l.words, word)
	}
	sum := 0.0
	for i := range vocabulary {
		sum += 1 / float64(i+2)
	}
	at, acc := 0, 0.0
	for i := range l.pick {
		for at < vocabulary-1 && acc+1/float64(at+2) < sum*float64(i)/float64(len(l.pick)) {
			acc += 1 / float64(at+2)
			at++
		}
		l.pick[i] = uint16(at)
	}
	return l
})

var common = []string{
	"the", "of", "and", "to", "a", "in", "is", "it", "you", "that", "for", "was", "on", "are", "with", "as", "I", "this",
	"be", "at", "have", "from", "or", "had", "by", "not", "but", "what", "we", "all", "can", "when", "your", "there",
	"an", "if", "my", "so", "just", "about", "like", "people", "more", "they", "today", "time", "now", "new", "some",
	"good", "would", "think", "really", "know", "still", "much", "want", "never", "work", "day", "server", "post",
}

// word returns the n-th word.
func word(n int) string { return lexicon().words[n] }

// prose appends sentences of about n bytes to b.
func (r *rng) prose(b []byte, n int) []byte {
	l := lexicon()
	for end := len(b) + n; len(b) < end; {
		start := len(b)
		for range r.between(4, 16) {
			b = append(b, l.words[l.pick[r.next()>>50]]...)
			b = append(b, ' ')
			if len(b) >= end {
				break
			}
		}
		if c := b[start]; 'a' <= c && c <= 'z' {
			b[start] = c - 'a' + 'A'
		}
		b[len(b)-1] = '.'
		b = append(b, ' ')
	}
	return b[:len(b)-1]
}

// length returns the length of a status, in bytes: most are short, few long.
func (r *rng) length() int {
	u := float64(r.below(1<<20)+1) / (1 << 20)
	return 20 + min(3000, int(-170*math.Log(u)))
}
