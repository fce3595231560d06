"""Built-in kinds against a real kube-apiserver: the same requests to both, answers compared.

The oracle is Kubernetes 1.20 as Debian bookworm's source package `kubernetes` has it (CONFORMANCE.md tells how to build it);
`KEELSON_KUBE_APISERVER` names the program. What changed upstream between 1.20 and today stands in `changes.py`, each with its reason.

    python -m tests.kubernetes.builtin.run --kube-apiserver PROGRAM
"""
