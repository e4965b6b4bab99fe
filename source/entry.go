package source

// A Type is the kind of a file in a tree.
type Type byte

// The types, as they are written in listings.
const (
	File    Type = 'f'
	Dir     Type = 'd'
	Symlink Type = 'l'
	FIFO    Type = 'p'
	Socket  Type = 's'
	Block   Type = 'b'
	Char    Type = 'c'
)

// An Entry is one file of a tree as lstat tells it. Names and targets are raw bytes: they need not be UTF-8.
type Entry struct {
	Path   string // relative to the root, slash-separated; "." is the root itself
	Type   Type
	Mode   uint32 // permission bits with setuid, setgid and sticky: 07777
	UID    uint32
	GID    uint32
	MTime  int64 // nanoseconds since 1970
	CTime  int64 // nanoseconds since 1970
	Dev    uint64
	Inode  uint64
	Nlink  uint64
	Size   int64  // bytes; 0 unless a File
	Alloc  int64  // bytes that the file occupies; less than Size where it is sparse
	Rdev   uint64 // device number of a Block or Char
	Target string // of a Symlink
	Xattrs []Xattr
}

// An Xattr is an extended attribute.
type Xattr struct {
	Name  string
	Value []byte
}

// ComparePaths orders paths as a walk meets them: component by component, bytewise, so '/' sorts below every
// other byte ("a", "a/x", "a.b") and "." comes first. It returns what cmp.Compare would.
func ComparePaths(a, b string) int {
	if a == "." || b == "." {
		switch {
		case a == b:
			return 0
		case a == ".":
			return -1
		default:
			return 1
		}
	}
	n := min(len(a), len(b))
	for i := range n {
		if x, y := a[i], b[i]; x != y {
			switch {
			case x == '/':
				return -1
			case y == '/':
				return 1
			case x < y:
				return -1
			default:
				return 1
			}
		}
	}
	return len(a) - len(b)
}
