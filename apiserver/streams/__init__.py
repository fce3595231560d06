"""Connections that live longer than a request: exec, attach, port-forward and logs, between a client and a node.

Clients come as WebSockets (v5/v4.channel.k8s.io, and SPDY/3.1+portforward.k8s.io that carries SPDY frames) or as SPDY/3.1 upgrades; towards the nodes
it is always a WebSocket. `spdy` is the codec (sans-IO), `session` has its streams, `duplex` the two kinds of connections below, `remotecommand` and
`portforward` the protocols on top, `kubelets` the way to the nodes.
"""
