"""THE table: which gRPC code and which HTTP status each failure is told with (etcd v3 API, error catalogue)."""

import enum

from kvstore import errors
from kvstore.errors import StoreError


class Code(enum.IntEnum):
    """gRPC status codes."""

    OK = 0
    CANCELED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16

    @property
    def words(self) -> str:
        """As Go writes it: InvalidArgument."""
        return "OK" if self is Code.OK else self.name.title().replace("_", "")


HTTP_STATUS = {
    Code.OK: 200,
    Code.CANCELED: 499,
    Code.UNKNOWN: 500,
    Code.INVALID_ARGUMENT: 400,
    Code.DEADLINE_EXCEEDED: 504,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.PERMISSION_DENIED: 403,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.FAILED_PRECONDITION: 400,
    Code.ABORTED: 409,
    Code.OUT_OF_RANGE: 400,
    Code.UNIMPLEMENTED: 501,
    Code.INTERNAL: 500,
    Code.UNAVAILABLE: 503,
    Code.DATA_LOSS: 500,
    Code.UNAUTHENTICATED: 401,
}

CODES: dict[type[StoreError], Code] = {
    errors.EmptyKey: Code.INVALID_ARGUMENT,
    errors.KeyNotFound: Code.INVALID_ARGUMENT,
    errors.ValueProvided: Code.INVALID_ARGUMENT,
    errors.LeaseProvided: Code.INVALID_ARGUMENT,
    errors.TooManyOperations: Code.INVALID_ARGUMENT,
    errors.DuplicateKey: Code.INVALID_ARGUMENT,
    errors.InvalidSortOption: Code.INVALID_ARGUMENT,
    errors.RequestTooLarge: Code.INVALID_ARGUMENT,
    errors.InvalidClientApiVersion: Code.INVALID_ARGUMENT,
    errors.WrongDowngradeVersionFormat: Code.INVALID_ARGUMENT,
    errors.InvalidDowngradeTargetVersion: Code.INVALID_ARGUMENT,
    errors.Compacted: Code.OUT_OF_RANGE,
    errors.FutureRevision: Code.OUT_OF_RANGE,
    errors.NoSpace: Code.RESOURCE_EXHAUSTED,
    errors.LeaseNotFound: Code.NOT_FOUND,
    errors.LeaseExists: Code.FAILED_PRECONDITION,
    errors.LeaseTtlTooLarge: Code.OUT_OF_RANGE,
    errors.MemberExists: Code.FAILED_PRECONDITION,
    errors.PeerUrlExists: Code.FAILED_PRECONDITION,
    errors.MemberNotFound: Code.NOT_FOUND,
    errors.Corrupt: Code.DATA_LOSS,
    errors.NoLeader: Code.UNAVAILABLE,
    errors.NotLeader: Code.FAILED_PRECONDITION,
    errors.LeaderChanged: Code.UNAVAILABLE,
    errors.Stopped: Code.UNAVAILABLE,
    errors.RequestTimeout: Code.UNAVAILABLE,
    errors.TimeoutLeaderFailed: Code.UNAVAILABLE,
    errors.TimeoutConnectionLost: Code.UNAVAILABLE,
    errors.TimeoutWaitingForApply: Code.UNAVAILABLE,
    errors.BadMemberUrls: Code.INVALID_ARGUMENT,
    errors.PermissionNotGiven: Code.INVALID_ARGUMENT,
    errors.RoleEmpty: Code.INVALID_ARGUMENT,
    errors.TooManyLearners: Code.FAILED_PRECONDITION,
    errors.MemberNotLearner: Code.FAILED_PRECONDITION,
    errors.LearnerNotReady: Code.FAILED_PRECONDITION,
    errors.ClusterIdMismatch: Code.FAILED_PRECONDITION,
    errors.ClusterVersionUnavailable: Code.FAILED_PRECONDITION,
    errors.DowngradeInProgress: Code.FAILED_PRECONDITION,
    errors.NoInflightDowngrade: Code.FAILED_PRECONDITION,
    errors.RootUserNotExist: Code.FAILED_PRECONDITION,
    errors.RootRoleNotExist: Code.FAILED_PRECONDITION,
    errors.UserAlreadyExists: Code.FAILED_PRECONDITION,
    errors.UserEmpty: Code.INVALID_ARGUMENT,
    errors.UserNotFound: Code.FAILED_PRECONDITION,
    errors.RoleAlreadyExists: Code.FAILED_PRECONDITION,
    errors.RoleNotFound: Code.FAILED_PRECONDITION,
    errors.AuthFailed: Code.INVALID_ARGUMENT,
    errors.PermissionDenied: Code.PERMISSION_DENIED,
    errors.RoleNotGranted: Code.FAILED_PRECONDITION,
    errors.PermissionNotGranted: Code.FAILED_PRECONDITION,
    errors.AuthNotEnabled: Code.FAILED_PRECONDITION,
    errors.InvalidAuthToken: Code.UNAUTHENTICATED,
    errors.InvalidAuthManagement: Code.INVALID_ARGUMENT,
    errors.AuthOldRevision: Code.INVALID_ARGUMENT,
    # These reach clients of etcd as Unknown, because Go maps them to an error that is not a gRPC status (v3rpc/util.go).
    errors.NoPasswordUser: Code.UNKNOWN,
    errors.PasswordTooLong: Code.UNKNOWN,
    errors.VerifyOnlyKey: Code.UNKNOWN,
    errors.LeaderTransferTimeout: Code.UNKNOWN,
    errors.TooManyRequests: Code.UNKNOWN,
    errors.NotEnoughStartedMembers: Code.UNKNOWN,
    # Not statuses either: errors of the client library on which etcd's lock and election services are built.
    errors.SessionExpired: Code.UNKNOWN,
    errors.LockedByAnother: Code.UNKNOWN,
    errors.LockReleased: Code.UNKNOWN,
    errors.BarrierHeld: Code.UNKNOWN,
    errors.BarrierFull: Code.UNKNOWN,
    errors.NotElected: Code.UNKNOWN,
    errors.NobodyElected: Code.UNKNOWN,
    errors.DiskTrouble: Code.UNKNOWN,
    errors.Unhealthy: Code.UNAVAILABLE,
    errors.NotSupportedForLearner: Code.FAILED_PRECONDITION,
    errors.BadLeaderTransferee: Code.FAILED_PRECONDITION,
}


class RpcError(Exception):
    """A failure with a code of its own: of the protocol, not of the store."""

    def __init__(self, code: Code, text: str) -> None:
        super().__init__(text)
        self.code = code


def describe(error: BaseException) -> tuple[Code, str]:
    """Code and text for the wire."""
    if isinstance(error, RpcError):
        return error.code, str(error)
    if isinstance(error, StoreError):
        return CODES.get(type(error), Code.UNKNOWN), str(error)
    if isinstance(error, TimeoutError):
        return Code.DEADLINE_EXCEEDED, "context deadline exceeded"
    return Code.INTERNAL, f"internal error: {type(error).__name__}"


def errors_by_text() -> dict[str, type[StoreError]]:
    """For clients, who recognise errors by their text."""
    return {kind.text: kind for kind in CODES}
