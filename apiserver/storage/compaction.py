"""The store forgets history that no watch needs any more, every five minutes (apiserver storage/etcd3/compact.go).

Any number of servers may do it: `compact_rev_key` holds whose turn it is. Who finds the key as it left it compacts to the revision of the turn
before, so that everybody has an interval's worth of history; who finds that another came first has nothing to do.
"""

import asyncio
import logging

from keelson.cogs.logs import fields
from kvstore.client.client import Client
from kvstore.client.requests import Compare, PutRequest, RangeRequest, RequestOp, TxnRequest
from kvstore.errors import Compacted, StoreError

log = logging.getLogger(__name__)

KEY = b"compact_rev_key"


class Compactor:
    def __init__(self, client: Client, interval_s: float) -> None:
        self._client = client
        self._interval_s = interval_s
        self._turn = 0
        self._revision = 0

    async def run(self) -> None:
        while True:
            await asyncio.sleep(self._interval_s)
            try:
                await self.compact_once()
            except Compacted:
                continue
            except StoreError as error:
                log.warning("compaction failed", extra=fields(error=str(error)))

    async def compact_once(self) -> int:
        """The revision that was compacted to; 0 if it was another's turn, or the first. Raises StoreError."""
        before = self._revision
        mine = Compare(key=KEY, target=Compare.VERSION, result=Compare.EQUAL, version=self._turn)
        answer = await self._client.txn(
            TxnRequest(
                compare=[mine],
                success=[RequestOp(request_put=PutRequest(key=KEY, value=str(before).encode()))],
                failure=[RequestOp(request_range=RangeRequest(key=KEY))],
            )
        )
        self._revision = answer.header.revision
        if not answer.succeeded:
            kvs = answer.responses[0].response_range.kvs
            self._turn = kvs[0].version if kvs else 0
            return 0
        self._turn += 1
        if not before:
            return 0
        await self._client.compact(before)
        log.info("compacted", extra=fields(revision=before))
        return before
