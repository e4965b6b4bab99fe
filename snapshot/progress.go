package snapshot

// Progress is told how far a run is. Its methods are called from several goroutines at once.
type Progress interface {
	Start(component string, total int64) // bytes to come, -1 where that is not known
	Add(component string, files, bytes int64)
	Done(component string)
}

// noProgress is for whoever does not want to know.
type noProgress struct{}

func (noProgress) Start(string, int64)      {}
func (noProgress) Add(string, int64, int64) {}
func (noProgress) Done(string)              {}

func orNoProgress(p Progress) Progress {
	if p == nil {
		return noProgress{}
	}
	return p
}
