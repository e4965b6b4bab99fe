package media

import (
	"embed"
	"fmt"

	"permafrost/source/way"
)

//go:embed steps/*.sh
var stepFiles embed.FS

// WayBack returns how media come back to root. In a container they belong to uid and gid.
func WayBack(root string, uid, gid uint32) way.Part {
	code, err := stepFiles.ReadFile("steps/functions.sh")
	if err != nil {
		panic(err) // it is part of the program
	}
	return way.Part{Name: "Media", Code: string(code), Steps: way.Read(stepFiles, "steps"), Vars: []way.Var{
		{Name: "media_root", About: "where the media belong on this host; with Compose the container's volume counts", Values: []string{root}},
		{Name: "media_uid", About: "with Compose: whose they are in the container, as a number", Values: []string{fmt.Sprint(uid)}},
		{Name: "media_gid", About: "with Compose: their group", Values: []string{fmt.Sprint(gid)}},
	}}
}
