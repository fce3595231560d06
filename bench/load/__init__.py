"""The load: a gRPC client reduced to what a measurement needs, and the requests it sends."""
