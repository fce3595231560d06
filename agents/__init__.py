"""Everything that reaches the cluster through the API server alone.

kit (informers, queues, election), scheduler, controllers, kubelet, proxy, dns, cloud

Each agent is a program of its own (`python -m agents.NAME.main`) and knows no other agent; they meet in the objects of the API.
"""
