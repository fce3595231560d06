"""HTTP/2 and HTTP/1.1 for an ASGI application, made for one event loop and many small calls. Knows nobody: the standard library and hpack.

frames      HTTP/2's frames and codes (RFC 9113, 4, 6, 7)
hpack_codec, heads    header blocks (RFC 7541), decoded once each, and what a request's says
lane        what the application sees of a unary gRPC call that is answered without coroutine, task or event
limits      what a client may take, and what is known of a connection
connection  the server's side of an HTTP/2 connection: bytes in, bytes out; no event loop
stream      one request of it
asgi        the same request for the application as ASGI has it
http1       a connection of HTTP/1.1 or 1.0; http1_head, http1_body what it reads, http1_exchange one request for ASGI, http1_answer what it writes
protocol    either of them on a transport of the event loop
"""
