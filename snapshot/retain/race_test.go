//go:build race

package retain

// raceDetector reports whether tests run with it.
const raceDetector = true
