package ledger

// Explore visits every state that next leads to, and returns how many there are. It ends at the first in which something does not
// hold, and returns that and what is wrong there.
func Explore[S comparable](start S, next func(s S, out []S) []S, holds func(*S) error) (states int, wrong *S, why error) {
	seen := map[S]struct{}{start: {}}
	todo := []S{start}
	var out []S
	for len(todo) > 0 {
		s := todo[0]
		todo = todo[1:]
		if err := holds(&s); err != nil {
			return len(seen), &s, err
		}
		out = next(s, out[:0])
		for _, t := range out {
			if _, again := seen[t]; !again {
				seen[t] = struct{}{}
				todo = append(todo, t)
			}
		}
	}
	return len(seen), nil, nil
}
