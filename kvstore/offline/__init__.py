"""What is done to a member's files without the member: snapshots looked at and restored, data directories checked and defragmented.

    snapshots.py   a snapshot file: whose it is, whether it is whole
    view.py        a state opened for reading only, without a trace
    status.py      what is in a snapshot
    hashing.py     HashKV of a file
    datadir.py     a stopped member's directory
    restore.py     a snapshot becomes the data directory of a member of a new cluster
    migration.py   etcd's backup becomes a state, read by bbolt.py

`ctl` gives these to users; the server's own start (`server.bootstrap`) says who a member is and is used here, never the other way round.
"""

from kvstore.offline.snapshots import SnapshotRefused
from kvstore.server.bootstrap import ConfigurationError
from kvstore.storage.engine import EngineError

Unusable = (SnapshotRefused, ConfigurationError, EngineError)
"""What these tools raise, beside OSError, when something is not fit for what was asked; the text says what and what to do."""
