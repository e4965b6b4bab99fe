package repo
