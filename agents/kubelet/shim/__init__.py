"""The process that stands behind one pod: it keeps the pod's namespaces, starts its containers, holds their standard streams, writes their logs and
records how they ended. It outlives the kubelet, which finds its pods again by asking the shims.

Standard library only, and little of it: a shim is started for every pod by `python -I -S -E`, and its memory is every pod's overhead.
"""
