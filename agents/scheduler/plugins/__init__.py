"""One plug-in a file: what it says when it refuses on top, a pure rule below."""
