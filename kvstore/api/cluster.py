"""etcdserverpb.Cluster. Member changes come with a later release; asking for one says so."""

from kvstore.api.rpc import Context, Service
from kvstore.errors import NotImplementedYet
from kvstore.wire import codec, messages


class Cluster(Service):
    async def member_list(self, context: Context, data: bytes) -> bytes:
        request = codec.parse(messages.MemberListRequest, data)
        members = await self.backend.member_list(request.linearizable, context.credentials)
        response = messages.MemberListResponse(
            members=[
                messages.Member(ID=member.id, name=member.name, peerURLs=member.peer_urls, clientURLs=member.client_urls, isLearner=member.is_learner)
                for member in members
            ]
        )
        return self.header(0) + response.SerializeToString()  # type: ignore[no-any-return]

    async def change(self, _context: Context, _data: bytes) -> bytes:
        raise NotImplementedYet("keelson: member changes are not implemented yet")
