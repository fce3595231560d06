"""Names of services and pods: a DNS server on every node (Kubernetes DNS-Based Service Discovery, version 1.1.0).

zone      pure: services, slices of endpoints and pods to answers
wire      pure: a query's bytes to an answer's bytes
upstream  questions about other names, passed on to the resolvers of the machine
server    UDP and TCP
record    the Service kube-dns, and the slice in which this instance says where it listens
main      the program
"""
