package keeper

import "sync"

// A meter adds up how far components are, and tells that. It is what package snapshot calls a Progress.
type meter struct {
	news  Observer
	guess map[string]int64 // bytes, by component: what it had the time before

	mu     sync.Mutex
	phases map[string]*Phase
}

func newMeter(news Observer, guess map[string]int64) *meter {
	return &meter{news: news, guess: guess, phases: make(map[string]*Phase)}
}

// change changes a component's phase and tells of it.
func (m *meter) change(component string, f func(*Phase)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.phases[component]
	if p == nil {
		p = &Phase{Name: component}
		m.phases[component] = p
	}
	f(p)
	m.news.Phase(*p)
}

// Start says that a component begins, and how many bytes it has: -1 where that is not known.
func (m *meter) Start(component string, total int64) {
	m.change(component, func(p *Phase) {
		if p.Ended { // a second try
			*p = Phase{Name: component}
		}
		if p.Total = total; total < 0 {
			p.Total, p.About = m.guess[component], true
		}
	})
}

// Add says that so many more files and bytes are done.
func (m *meter) Add(component string, files, bytes int64) {
	m.change(component, func(p *Phase) {
		p.Files += files
		p.Done += bytes
	})
}

// Done says that a component is complete.
func (m *meter) Done(component string) { m.change(component, func(p *Phase) { p.Ended = true }) }

// Sending says that bytes begin to go to the storage; traffic says how many are there, of how many.
func (m *meter) Sending(name string, traffic func() (sent, packed int64)) {
	m.change(name, func(p *Phase) { *p = Phase{Name: name, Traffic: traffic} })
}
