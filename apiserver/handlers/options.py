"""The options of a write, which come in its query: dryRun, fieldManager, fieldValidation, force (apimachinery/pkg/apis/meta/v1/validation)."""

from __future__ import annotations

from apiserver.handlers.call import Call
from apiserver.machinery import fieldmanager
from apiserver.machinery.status import Cause, forbidden_value, invalid, not_supported, required

VALIDATIONS = ("", "Ignore", "Strict", "Warn")


def check(call: Call, kind: str, *, applies: bool | None = None) -> None:
    """`kind`: CreateOptions, UpdateOptions or PatchOptions; `applies`: of a patch, whether it is a server-side apply. Raises ApiError (422)."""
    query = call.query
    manager, validation = query.get("fieldManager"), query.get("fieldValidation")
    causes: list[Cause] = []
    if applies and not manager:
        causes.append(required("fieldManager", "is required for apply patch"))
    if applies is False and query.given("force"):
        causes.append(forbidden_value("force", "may not be specified for non-apply patch"))
    causes += fieldmanager.check_manager(manager)
    causes += dry_run_faults(query.all("dryRun"))
    if validation not in VALIDATIONS:
        causes.append(not_supported("fieldValidation", validation, VALIDATIONS))
    if causes:
        raise invalid("meta.k8s.io", kind, "", causes)


def dry_run_faults(asked: list[str]) -> list[Cause]:
    return [] if all(each == "All" for each in asked) else [not_supported("dryRun", asked, ["All"])]
