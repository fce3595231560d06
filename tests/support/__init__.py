"""What the suites that start real processes share: ports, certificates, server processes, clusters, raw gRPC and JSON calls.

`kinds` says what can be started (etcd, keelson), `members` starts and breaks it, `tls` makes the certificates, `calls` talks to it.
Which kind a suite judges is told by KEELSON_TEST_SUBJECT (default "keelson"); "etcd" puts the reference in the place of the subject,
which is how a suite shows that it judges rightly.
"""
