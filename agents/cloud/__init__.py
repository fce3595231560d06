"""What an infrastructure gives to a cluster: addresses for services of type LoadBalancer, and what nodes are and where (cloud-controller-manager).

provider     the interface, one for every infrastructure
local        this machine as an infrastructure: a range of addresses, and nodes in zones by turns
ways         how this machine reaches balancers of services that are not on every node
nodes        nodes get their provider id, zone, type; those whose machine is gone are deleted
services     services get addresses and give them back
main         the program: one active instance
"""
