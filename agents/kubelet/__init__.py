"""The node agent: pods of this node become processes."""
