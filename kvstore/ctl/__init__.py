"""`kvctl`: etcdctl's commands, flags and output, on `kvstore.client`."""
