"""Who asks, and may he: the member's side of authentication. The rules are `statemachine.guard`'s; here are the tokens that this member knows.

Reads come wrapped in `requests.Guarded` if a client said who he is. One that comes bare while authentication is on was asked by nobody known:
authentication may have been enabled between question and answer, and this member be the last to hear of it.
"""

from typing import Any

from kvstore.accounts import (
    CLUSTER,
    NOBODY_KNOWN,
    AuthDisable,
    Authenticate,
    Caller,
    PasswordAsked,
    UserChangePassword,
    UserDelete,
    Who,
)
from kvstore.auth import access
from kvstore.auth.tokens import SimpleTokens
from kvstore.errors import StoreError
from kvstore.member.requests import AskLease, Barrier, Guarded, HashAt, LeaseTime, LeaseWithKeys, ListLeases, ListMembers, RenewLease
from kvstore.statemachine.machine import Machine

_OF_MEMBERS = frozenset({Barrier, HashAt, RenewLease, LeaseTime, PasswordAsked})
"""What members ask themselves or each other, for clients who were looked at before."""


class Gate:
    def __init__(self, token_ttl_s: float) -> None:
        self.tokens = SimpleTokens(token_ttl_s)

    def identify(self, machine: Machine, who: Who, now_s: float) -> Caller:
        """Raises InvalidAuthToken. While authentication is off everybody is nobody, whatever he shows."""
        if isinstance(who, Caller):
            return who
        accounts = machine.accounts
        if who is None or not accounts.enabled:
            return NOBODY_KNOWN
        if who.token is not None:
            return Caller(self.tokens.user_of(who.token, now_s), accounts.revision)
        return Caller(who.common_name, accounts.revision) if who.common_name else NOBODY_KNOWN

    def admit(self, machine: Machine, request: Any, now_s: float) -> Any:
        """The read without its wrapping. Raises what the caller is to be told."""
        if type(request) is not Guarded:
            if type(request) not in _OF_MEMBERS:
                self._check(machine, request, NOBODY_KNOWN)
            return request
        self._check(machine, request.request, self.identify(machine, request.who, now_s))
        return request.request

    def _check(self, machine: Machine, request: Any, caller: Caller) -> None:
        accounts = machine.accounts
        if not accounts.enabled or caller == CLUSTER:
            return
        if isinstance(request, ListMembers):
            access.check_user(accounts, caller)
        elif isinstance(request, LeaseWithKeys):
            machine.guard.check_keys_shown(request.id, caller)
        elif isinstance(request, AskLease):
            if isinstance(request.question, RenewLease):
                machine.guard.check_renewal(request.question.id, caller)
            else:
                access.check_user(accounts, caller)  # its keys are guarded when they are read
        elif isinstance(request, ListLeases):
            for lease_id in machine.leases:
                machine.guard.check_keys_shown(lease_id, caller)
            access.check_user(accounts, caller)
        else:
            machine.guard.check(request, caller)

    def applied(self, command: Any, outcome: Any, now_s: float) -> None:
        """What an applied command means for tokens. They are no part of the state: each member keeps its own list."""
        if isinstance(outcome, StoreError):
            return
        if isinstance(command, Authenticate):
            self.tokens.assign(outcome, command.name, now_s)
        elif isinstance(command, UserDelete | UserChangePassword):
            self.tokens.forget_user(command.name)
        elif isinstance(command, AuthDisable):
            self.tokens.clear()

    def state_replaced(self, old: Machine, new: Machine) -> None:
        """The entries between the two were never applied here: whoever was deleted in them, or got another password, must not go on by his token."""
        if old.accounts.revision != new.accounts.revision:
            self.tokens.clear()
