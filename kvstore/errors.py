"""Every failure that a client can be told, one class each. Wire codes and HTTP status live in `wire.status`.

`text` is etcd's message byte for byte, because the official clients recognise errors by it. `deterministic` says where the
error may come from: True, every member applying the same entry gives the same answer, so it is a result like any other;
False, it is this member's momentary inability (no leader, too busy, stopping) and never comes out of applying an entry.
"""

from typing import ClassVar


class StoreError(Exception):
    """Base: something a client is told instead of a result."""

    text: ClassVar[str] = "etcdserver: unknown error"
    deterministic: ClassVar[bool] = True

    def __init__(self, text: str | None = None) -> None:
        super().__init__(self.text if text is None else text)


# --- the caller's fault: the request is wrong --------------------------------------------------------------------------


class EmptyKey(StoreError):
    text = "etcdserver: key is not provided"


class KeyNotFound(StoreError):
    text = "etcdserver: key not found"


class ValueProvided(StoreError):
    text = "etcdserver: value is provided"


class LeaseProvided(StoreError):
    text = "etcdserver: lease is provided"


class TooManyOperations(StoreError):
    text = "etcdserver: too many operations in txn request"


class DuplicateKey(StoreError):
    text = "etcdserver: duplicate key given in txn request"


class InvalidSortOption(StoreError):
    text = "etcdserver: invalid sort option"


class RequestTooLarge(StoreError):
    text = "etcdserver: request is too large"


class InvalidClientApiVersion(StoreError):
    text = "etcdserver: invalid client api version"


class WrongDowngradeVersionFormat(StoreError):
    text = "etcdserver: wrong downgrade target version format"


class InvalidDowngradeTargetVersion(StoreError):
    text = "etcdserver: invalid downgrade target version"


class BadMemberUrls(StoreError):
    text = "etcdserver: given member URLs are invalid"


class PermissionNotGiven(StoreError):
    text = "etcdserver: permission not given"


class RoleEmpty(StoreError):
    text = "etcdserver: role name is empty"


# --- the state says no -------------------------------------------------------------------------------------------------


class Compacted(StoreError):
    text = "etcdserver: mvcc: required revision has been compacted"


class FutureRevision(StoreError):
    text = "etcdserver: mvcc: required revision is a future revision"


class NoSpace(StoreError):
    text = "etcdserver: mvcc: database space exceeded"


class LeaseNotFound(StoreError):
    text = "etcdserver: requested lease not found"


class LeaseExists(StoreError):
    text = "etcdserver: lease already exists"


class LeaseTtlTooLarge(StoreError):
    text = "etcdserver: too large lease TTL"


class MemberExists(StoreError):
    text = "etcdserver: member ID already exist"


class PeerUrlExists(StoreError):
    text = "etcdserver: Peer URLs already exists"


class MemberNotFound(StoreError):
    text = "etcdserver: member not found"


class Corrupt(StoreError):
    text = "etcdserver: corrupt cluster"


class TooManyLearners(StoreError):
    text = "etcdserver: too many learner members in cluster"


class MemberNotLearner(StoreError):
    text = "etcdserver: can only promote a learner member"


class ClusterVersionUnavailable(StoreError):
    text = "etcdserver: cluster version not found during downgrade"


class DowngradeInProgress(StoreError):
    text = "etcdserver: cluster has a downgrade job in progress"


class NoInflightDowngrade(StoreError):
    text = "etcdserver: no inflight downgrade job"


# --- who may do what ---------------------------------------------------------------------------------------------------


class RootUserNotExist(StoreError):
    text = "etcdserver: root user does not exist"


class RootRoleNotExist(StoreError):
    text = "etcdserver: root user does not have root role"


class UserAlreadyExists(StoreError):
    text = "etcdserver: user name already exists"


class UserEmpty(StoreError):
    """Also what a call without a token is told while authentication is on."""

    text = "etcdserver: user name is empty"


class UserNotFound(StoreError):
    text = "etcdserver: user name not found"


class RoleAlreadyExists(StoreError):
    text = "etcdserver: role name already exists"


class RoleNotFound(StoreError):
    text = "etcdserver: role name not found"


class AuthFailed(StoreError):
    text = "etcdserver: authentication failed, invalid user ID or password"


class NoPasswordUser(StoreError):
    """Reaches clients of etcd as Unknown, with the text of etcd's own package."""

    text = "auth: authentication failed, password was given for no password user"


class PasswordTooLong(StoreError):
    text = "bcrypt: password length exceeds 72 bytes"


class VerifyOnlyKey(StoreError):
    """This member has only the public half of the key that tokens are signed with."""

    text = "auth: token signing attempted with verify-only key"
    deterministic = False


class PermissionDenied(StoreError):
    text = "etcdserver: permission denied"


class RoleNotGranted(StoreError):
    text = "etcdserver: role is not granted to the user"


class PermissionNotGranted(StoreError):
    text = "etcdserver: permission is not granted to the role"


class AuthNotEnabled(StoreError):
    text = "etcdserver: authentication is not enabled"


class InvalidAuthManagement(StoreError):
    text = "etcdserver: invalid auth management"


class AuthOldRevision(StoreError):
    """The permissions changed since the token was made, or between check and apply: the client asks again."""

    text = "etcdserver: revision of auth store is old"


class InvalidAuthToken(StoreError):
    text = "etcdserver: invalid auth token"
    deterministic = False


# --- locks and elections (etcd's clientv3/concurrency) ------------------------------------------------------------------


class SessionExpired(StoreError):
    """The lease of a session ended, and with it everything that the session held or waited for."""

    text = "mutex: session is expired"


class LockedByAnother(StoreError):
    text = "mutex: Locked by another session"


class LockReleased(StoreError):
    text = "mutex: lock has already been released"


class BarrierHeld(StoreError):
    text = "key already exists"


class BarrierFull(StoreError):
    text = "too many clients"


class NotElected(StoreError):
    text = "election: not leader"


class NobodyElected(StoreError):
    text = "election: no leader"


# --- this member, this moment ------------------------------------------------------------------------------------------


class Momentary(StoreError):
    """Base: not an answer of the state but of this member now; another member or another moment may do better."""

    deterministic = False


class NoLeader(Momentary):
    text = "etcdserver: no leader"


class NotLeader(Momentary):
    text = "etcdserver: not leader"


class LeaderChanged(Momentary):
    text = "etcdserver: leader changed"


class Stopped(Momentary):
    text = "etcdserver: server stopped"


class RequestTimeout(Momentary):
    """A write that ends so may still be applied later, once."""

    text = "etcdserver: request timed out"


class TimeoutLeaderFailed(RequestTimeout):
    text = "etcdserver: request timed out, possibly due to previous leader failure"


class TimeoutConnectionLost(RequestTimeout):
    text = "etcdserver: request timed out, possibly due to connection lost"


class TimeoutWaitingForApply(RequestTimeout):
    text = "etcdserver: request timed out, waiting for the applied index took too long"


class LeaderTransferTimeout(Momentary):
    text = "etcdserver: request timed out, leader transfer took too long"


class TooManyRequests(Momentary):
    text = "etcdserver: too many requests"


class Unhealthy(Momentary):
    text = "etcdserver: unhealthy cluster"


class NotSupportedForLearner(Momentary):
    text = "etcdserver: rpc not supported for learner"


class NotEnoughStartedMembers(Momentary):
    """The leader's guard before a change of members (strict reconfiguration check)."""

    text = "etcdserver: re-configuration failed due to not enough started members"


class LearnerNotReady(Momentary):
    text = "etcdserver: can only promote a learner member which is in sync with leader"


class ClusterIdMismatch(Momentary):
    text = "etcdserver: cluster ID mismatch"


class BadLeaderTransferee(Momentary):
    text = "etcdserver: bad leader transferee"


class DiskTrouble(Momentary):
    """A copy of the state could not be made, for want of space or worse; the text says which file. Nothing was lost."""

    text = "keelson: the disk failed"
