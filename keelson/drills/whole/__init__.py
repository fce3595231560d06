"""Drills of a whole cluster: a client calls a service all the time while a process, a node, or everything in turn is taken away.

caller   the client            stage   the cluster and the service on it
faults   what is done          report  what came of it: JSON and a page
twins    two pods of one name at once?
"""
