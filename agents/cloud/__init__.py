"""What an infrastructure gives: addresses of load balancers, zones of nodes."""
