"""The shell: the only room with an event loop, sockets, files and a clock."""
