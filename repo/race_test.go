//go:build race

package repo

// RaceDetector reports whether tests run with it.
const RaceDetector = true
