"""What runs pods: one interface (`base`), two implementations: `embedded` (the kernel and Python, nothing to install) and `cri` (containerd, over
gRPC)."""
