"""Cluster DNS: one process on every node answers for the cluster's own names and asks others for the rest.

zone        services, endpoint slices and namespaces to records and answers (the Kubernetes DNS specification 1.1.0): pure
wire        a question in bytes to an answer in bytes, over a zone: pure
forward     names that are not ours, from the servers of /etc/resolv.conf
server      UDP and TCP
publish     the Service kube-dns, and this process's own EndpointSlice of it
main        the program
"""
