//go:build !race

package keys_test

// raceDetector reports whether tests run with it.
const raceDetector = false
