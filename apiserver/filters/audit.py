"""What happened, who did it, and how it ended: audit.k8s.io/v1 events, one JSON line each (apiserver/pkg/audit).

A request is recorded when it has come in (RequestReceived), when a long answer begins (ResponseStarted) and when it has ended (ResponseComplete), as
the policy says. Tokens and certificates never get into it; bodies do at the levels Request and RequestResponse.
"""

import contextlib
import logging
import os
import sys
import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web
from msgspec import Struct, field

from apiserver.authn.reviews import told
from apiserver.filters.audit_policy import LEVELS, Policy
from apiserver.filters.request_info import RequestInfo
from apiserver.machinery.objects import Object
from apiserver.machinery.timestamps import shown_micro
from apiserver.request import User

log = logging.getLogger(__name__)

BODY_BYTES_MAX = 100 * 1024
"""Larger bodies are left out of the event, and an annotation says so: one request must not fill the disk."""
URI_BYTES_MAX = 4096
AGENT_BYTES_MAX = 1024


class Record(Struct):
    """One request while it lasts."""

    level: str
    stages: frozenset[str]
    omit_managed_fields: bool
    event: dict[str, Any]
    annotations: dict[str, str] = field(default_factory=dict)


SECRETIVE = (("serviceaccounts", "token"), ("tokenreviews", ""))
"""What is made of tokens: bodies of these stay out at every level."""
RECORD = web.RequestKey("audit", Record)
BODY = web.RequestKey("audit-body", bytes)
"""As it came."""
IMPERSONATOR = web.RequestKey("audit-impersonator", User)
"""Who it is that acts as somebody else."""


class LogFile:
    """Lines into a file that is turned over at `maxsize_mb` (0: never), with `maxbackup` old ones kept (0: all). `-` is standard output."""

    def __init__(self, path: str, maxsize_mb: int = 0, maxbackup: int = 0) -> None:
        self._path = None if path == "-" else Path(path)
        self._size_max = maxsize_mb << 20
        self._maxbackup = maxbackup
        self._lock = threading.Lock()
        self.failed = 0
        """Lines that could not be written."""
        self._file = sys.stdout.buffer if self._path is None else self._open()
        self._size = 0 if self._path is None else self._path.stat().st_size

    def write(self, line: bytes) -> None:
        """A full disk loses lines and is told in the log; it does not stop the server."""
        with self._lock:
            try:
                if self._path is not None and self._size_max and self._size + len(line) > self._size_max:
                    self._turn_over()
                self._file.write(line)
                self._file.flush()
                self._size += len(line)
            except OSError as error:
                self.failed += 1
                if self.failed & (self.failed - 1) == 0:  # the first, second, fourth, ...
                    log.error("an audit event could not be written", extra={"fields": {"error": str(error), "lost": self.failed}})

    def close(self) -> None:
        if self._path is not None:
            self._file.close()

    def _open(self) -> Any:
        assert self._path is not None
        return os.fdopen(os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab")

    def _turn_over(self) -> None:
        assert self._path is not None
        self._file.close()
        numbers = sorted(int(each.suffix[1:]) for each in self._path.parent.glob(f"{self._path.name}.*") if each.suffix[1:].isdigit())
        self._path.rename(self._path.with_name(f"{self._path.name}.{(numbers[-1] if numbers else 0) + 1}"))
        if self._maxbackup:
            for number in numbers[: max(0, len(numbers) + 1 - self._maxbackup)]:
                with contextlib.suppress(OSError):
                    self._path.with_name(f"{self._path.name}.{number}").unlink()
        self._file, self._size = self._open(), 0


class Auditor:
    def __init__(self, policy: Policy, write: Callable[[bytes], None], clock: Callable[[], datetime]) -> None:
        self._policy = policy
        self._write = write
        self._clock = clock
        self._encode = msgspec.json.Encoder(enc_hook=str).encode

    def begin(self, request: web.BaseRequest, info: RequestInfo, user: User, audit_id: str) -> None:
        """Who asks is known. The record stays with the request."""
        level, stages, omit = self._policy.of(user, info)
        if level == "None":
            return
        event: dict[str, Any] = {
            "kind": "Event",
            "apiVersion": "audit.k8s.io/v1",
            "level": level,
            "auditID": audit_id,
            "stage": "",
            "requestURI": request.path_qs[:URI_BYTES_MAX],
            "verb": info.verb,
            "user": told(request.get(IMPERSONATOR) or user),
            "sourceIPs": [request.remote or ""],
            "requestReceivedTimestamp": shown_micro(self._clock()),
        }
        if request.get(IMPERSONATOR) is not None and user.name:
            event["impersonatedUser"] = told(user)
        if agent := request.headers.get("User-Agent"):
            event["userAgent"] = agent[:AGENT_BYTES_MAX]
        if info.is_resource:
            event["objectRef"] = _reference(info)
        record = Record(level, stages, omit, event)
        request[RECORD] = record
        self._emit(record, "RequestReceived")

    def allowed(self, request: web.BaseRequest, reason: str) -> None:
        self._decided(request, "allow", reason)

    def forbidden(self, request: web.BaseRequest, reason: str) -> None:
        self._decided(request, "forbid", reason)

    def annotate(self, request: web.BaseRequest, annotations: dict[str, str]) -> None:
        """What admission plug-ins have to say."""
        record = request.get(RECORD)
        if record is not None:
            record.annotations.update(annotations)

    def started(self, request: web.BaseRequest, code: int) -> None:
        """A long answer begins: a watch, a log, a stream."""
        record = request.get(RECORD)
        if record is not None:
            record.event["responseStatus"] = {"metadata": {}, "code": code}
            self._emit(record, "ResponseStarted")

    def ended(self, request: web.BaseRequest, response: web.StreamResponse) -> None:
        record = request.get(RECORD)
        if record is None:
            return
        event = record.event
        wanted = record.level == "RequestResponse" or response.status >= 400
        answered = response.body if wanted and isinstance(response, web.Response) else b""
        body = self._decoded(answered if isinstance(answered, bytes) else b"", record, "response")
        event["responseStatus"] = {"metadata": {}, "code": response.status}
        if response.status >= 400 and isinstance(body, dict):
            status = {key: body[key] for key in ("status", "message", "reason", "details") if key in body}
            event["responseStatus"] = {"metadata": {}, **status, "code": response.status}
        if (event.get("objectRef", {}).get("resource"), event.get("objectRef", {}).get("subresource", "")) in SECRETIVE:
            record.annotations["audit.keelson/bodies-left-out"] = "they hold tokens"
            self._emit(record, "ResponseComplete")
            return
        if LEVELS.index(record.level) >= LEVELS.index("Request") and (sent := request.get(BODY)):
            event["requestObject"] = self._trimmed(self._decoded(sent, record, "request"), record)
        if record.level == "RequestResponse":
            event["responseObject"] = self._trimmed(body, record)
        self._emit(record, "ResponseComplete")

    def abandoned(self, request: web.BaseRequest) -> None:
        """The client went away before the end."""
        record = request.get(RECORD)
        if record is not None:
            self._emit(record, "ResponseComplete")

    def failed(self, request: web.BaseRequest) -> None:
        """Our own fault."""
        record = request.get(RECORD)
        if record is not None:
            record.event["responseStatus"] = {"metadata": {}, "status": "Failure", "reason": "InternalError", "code": 500}
            self._emit(record, "Panic")

    def unknown(self, request: web.BaseRequest, info: RequestInfo, audit_id: str) -> None:
        """Who asks could not be told, or may not be whom he says he is."""
        self.begin(request, info, User(""), audit_id)

    def _decided(self, request: web.BaseRequest, decision: str, reason: str) -> None:
        record = request.get(RECORD)
        if record is not None:
            record.annotations["authorization.k8s.io/decision"] = decision
            record.annotations["authorization.k8s.io/reason"] = reason

    def _emit(self, record: Record, stage: str) -> None:
        if stage not in record.stages:
            return
        event = {**record.event, "stage": stage, "stageTimestamp": shown_micro(self._clock())}
        if record.annotations:
            event["annotations"] = record.annotations
        self._write(self._encode(event) + b"\n")

    def _decoded(self, body: bytes, record: Record, which: str) -> Any:
        if not body:
            return None
        if len(body) > BODY_BYTES_MAX:
            record.annotations[f"audit.keelson/{which}-left-out"] = f"{len(body)} bytes"
            return None
        try:
            return msgspec.json.decode(body)
        except (msgspec.DecodeError, RecursionError):
            return None  # protobuf and YAML bodies

    def _trimmed(self, obj: Any, record: Record) -> Any:
        if not record.omit_managed_fields or not isinstance(obj, dict):
            return obj
        for each in [obj, *(obj.get("items") or [])]:
            if isinstance(each, dict) and isinstance(each.get("metadata"), dict):
                each["metadata"].pop("managedFields", None)
        return obj


def _reference(info: RequestInfo) -> Object:
    found = {
        "resource": info.resource,
        "namespace": info.namespace,
        "name": info.name,
        "apiGroup": info.group,
        "apiVersion": info.version,
        "subresource": info.subresource,
    }
    return {key: value for key, value in found.items() if value}
