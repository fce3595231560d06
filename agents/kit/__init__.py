"""What every controller is made of: informers, indexers, work queues, leader election, events.

informer      a cache of one resource that follows the server; its guarantee is stated there
indexer       the cache: objects by key, and by what else a controller asks for
workqueue     keys that wait for a worker; backoff the pause after failures
expectations  what was asked for and not seen yet
actions       what a reconcile wants done; performer does it
controller    informers + queue -> reconcile(key) in N workers -> retry
owners        owner references, adoption and release
events        the recorder: aggregation and a filter against spam
leader        one active instance among many, through a Lease
runner        the frame of an agent's program: flags, health, metrics, start and stop
"""
