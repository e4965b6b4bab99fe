package main

import (
	"errors"

	"permafrost/source"
	"permafrost/source/media"
)

// sourceExamples has an error of each kind that the packages of the Mastodon host export.
func sourceExamples() map[string]error {
	return map[string]error{
		"source.ReachError":   &source.ReachError{Err: errors.New("reaching the container db-1: connection refused")},
		"media.ErrChanged":    media.ErrChanged,
		"media.ListError":     &media.ListError{Err: errors.New("accounts: permission denied")},
		"media.LeadsOutError": &media.LeadsOutError{Target: "/srv/media"},
	}
}

// sourceHintless are those that have no hint by their kind, and why.
func sourceHintless() map[string]string {
	return map[string]string{
		"source.ReachError":   "it is given where the container is looked for",
		"media.ErrChanged":    "the file is left out and named",
		"media.ListError":     "the directory is left out and named",
		"media.LeadsOutError": "the file is left out and named",
	}
}
