"""The PKI: a CA, and server, peer and client certificates made with `cryptography`. Knows nothing else of the project.

`profiles` says who gets which usages, `authority` signs, `files` keeps certificates and keys on disk, `bundle` makes all that a store needs,
`control_plane` all that a Kubernetes control plane needs (`kubeconfig` writes its kubeconfigs),
and renews what is about to end. Servers get file names, never this package.
"""
