package source

// A Deployment says how the services of an instance run. What stops, starts and restores them depends on it.
type Deployment struct {
	Kind DeploymentKind `json:"kind"`

	Units []string `json:"units,omitempty"` // of systemd: those that were active

	Engine   string    `json:"engine,omitempty"`  // docker or podman
	Project  string    `json:"project,omitempty"` // of Compose
	Services []Service `json:"services,omitempty"`
}

// A DeploymentKind is what runs the services of an instance.
type DeploymentKind string

// The kinds of deployments.
const (
	Systemd DeploymentKind = "systemd"
	Compose DeploymentKind = "compose"
	Unknown DeploymentKind = "unknown"
)

// A Service is a container of a Compose project.
type Service struct {
	Name      string `json:"name"`
	Container string `json:"container"`
	Image     string `json:"image"`
	Running   bool   `json:"running"`
	Mastodon  bool   `json:"mastodon,omitempty"` // it runs Mastodon's own code
}
