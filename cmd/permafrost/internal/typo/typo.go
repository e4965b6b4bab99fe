// Package typo finds the word that somebody may have meant.
package typo

// Nearest returns the one of words that is nearest to what somebody wrote, or "" where none is near.
func Nearest(wrote string, words []string) string {
	best, least := "", 1+len(wrote)/3
	for _, w := range words {
		if d := editDistance(wrote, w); d <= least && w != "" {
			best, least = w, d-1
		}
	}
	return best
}

// editDistance returns how many bytes have to be inserted, deleted or changed to make b of a.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			d := diagonal
			if a[i] != b[j] {
				d = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], d
		}
	}
	return row[len(b)]
}
