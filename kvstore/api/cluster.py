"""etcdserverpb.Cluster: who is a member. Answers have no revision in their header: members are no keys."""

from collections.abc import Iterable
from typing import Any

from kvstore.api.rpc import Context, Service
from kvstore.checks import check_peer_urls
from kvstore.ids import MemberId
from kvstore.model import Member
from kvstore.wire import codec, messages


class Cluster(Service):
    async def member_list(self, context: Context, data: bytes) -> bytes:
        request = codec.parse(messages.MemberListRequest, data)
        members = await self.backend.member_list(request.linearizable, context.credentials)
        return self._answer(messages.MemberListResponse(members=_encoded(members)))

    async def member_add(self, context: Context, data: bytes) -> bytes:
        request = codec.parse(messages.MemberAddRequest, data)
        await self.backend.require_root(context.credentials)
        added, members = await self.backend.member_add(check_peer_urls(request.peerURLs), request.isLearner)
        response = messages.MemberAddResponse(members=_encoded(members))
        response.member.CopyFrom(next(member for member in response.members if added == member.ID))
        return self._answer(response)

    async def member_remove(self, context: Context, data: bytes) -> bytes:
        request = codec.parse(messages.MemberRemoveRequest, data)
        await self.backend.require_root(context.credentials)
        return self._answer(messages.MemberRemoveResponse(members=_encoded(await self.backend.member_remove(MemberId(request.ID)))))

    async def member_update(self, context: Context, data: bytes) -> bytes:
        request = codec.parse(messages.MemberUpdateRequest, data)
        await self.backend.require_root(context.credentials)
        members = await self.backend.member_update(MemberId(request.ID), check_peer_urls(request.peerURLs))
        return self._answer(messages.MemberUpdateResponse(members=_encoded(members)))

    async def member_promote(self, context: Context, data: bytes) -> bytes:
        request = codec.parse(messages.MemberPromoteRequest, data)
        await self.backend.require_root(context.credentials)
        return self._answer(messages.MemberPromoteResponse(members=_encoded(await self.backend.member_promote(MemberId(request.ID)))))

    def _answer(self, response: Any) -> bytes:
        return self.header(0) + response.SerializeToString()  # type: ignore[no-any-return]


def _encoded(members: Iterable[Member]) -> list[Any]:
    return [
        messages.Member(ID=member.id, name=member.name, peerURLs=member.peer_urls, clientURLs=member.client_urls, isLearner=member.is_learner)
        for member in members
    ]
