"""The service proxy of a node: whatever is sent to the address of a service reaches one of its ready endpoints (kube-proxy).

rules       services and endpoint slices to what shall be answered where: pure
table       the rules of all services, kept up to date from the informers' caches
userspace   answers in this process: addresses on an interface of its own, listeners, spliced connections, datagram flows (the default)
dials       the first of a service's endpoints that takes a connection, with hedges within a budget; choice: in which order they are tried
nftables    answers in the kernel: the difference between two sets of rules, as one transaction of `nft`
nft         the program `nft`
remembered  the clients with an endpoint of their own that a proxy before has left in the kernel
host_ports  ports of the node that lead to its pods, as the kubelet tells them
conntrack   makes the kernel forget flows of datagrams to endpoints that are gone
main        the program
"""
