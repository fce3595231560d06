"""What else must hold of a write, one plug-in a file."""
