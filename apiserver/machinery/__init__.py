"""Pure rules of Kubernetes' API objects, shared by server and agents. No I/O, no clock, no chance."""
