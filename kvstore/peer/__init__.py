"""The members' own protocol, sans-IO: msgpack frames and the handshake that says who may talk."""
