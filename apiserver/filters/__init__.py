"""The way of a request through the server, in one order."""
