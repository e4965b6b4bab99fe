package deploy

import "permafrost/source"

// Causes in the search for the containers.
const (
	CauseNoEngine          source.Cause = "deploy: no engine"          // there is no such command
	CauseEngineFails       source.Cause = "deploy: engine fails"       // it does not answer
	CauseTwoEngines        source.Cause = "deploy: two engines"        // both have a project of the live directory
	CauseNoProject         source.Cause = "deploy: no project"         // no container belongs to the project that the options name
	CauseSeveralProjects   source.Cause = "deploy: several projects"   // they have the same directory
	CauseSeveralContainers source.Cause = "deploy: several containers" // a name stands for more than one that runs
	CauseStopped           source.Cause = "deploy: stopped"            // the facts: the engine's command and a container that does not run
	CauseNoListener        source.Cause = "deploy: no listener"        // likewise of a container that does not answer
)

// Causes why a server's name has no address. The facts: the name, the live directory, and the Compose file in it or "".
const (
	CauseServiceUntold   source.Cause = "deploy: service untold"     // the container engine failed; a further fact: how
	CauseServiceNoEngine source.Cause = "deploy: service, no engine" // there is no container engine
	CauseServiceDown     source.Cause = "deploy: service down"       // no project of that directory runs

	// CauseNoService is that the project has no such service. The facts: the name, the project, its services.
	CauseNoService source.Cause = "deploy: no service"
)
