"""etcd's protocol: messages, framing, JSON rules, error codes, limits. Knows no store."""
