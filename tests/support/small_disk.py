"""A disk small enough to be filled, for a member's data. Needs the right to mount; else the test is skipped and says so."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from keelson.drills.small_disk import NoSmallDisk, SmallDisk


@contextmanager
def small_disk(folder: Path, size_bytes: int) -> Iterator[SmallDisk]:
    try:
        disk = SmallDisk(folder, size_bytes)
    except NoSmallDisk as error:
        pytest.skip(str(error))
    try:
        yield disk
    finally:
        disk.unmount()
