//go:build !race

package storetest

// RaceDetector reports whether tests run with it.
const RaceDetector = false
