"""What lies between the members, where a fault is to cut it.

network     `Network`: one direction between two members can be cut, all can be mended; `choose` picks what this machine can do
namespaces  each member in a network namespace of its own (root): packets are lost, as on a real network
proxies     a TCP proxy before each member's peer port (anybody): bytes wait, connections stay open
"""
