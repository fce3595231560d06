"""Requests that lead nowhere, in Kubernetes' words."""

from apiserver.machinery.status import ApiError, details, qualified


def not_allowed() -> ApiError:
    return ApiError("MethodNotAllowed", "the server does not allow this method on the requested resource")


def not_supported(group: str, plural: str, verb: str) -> ApiError:
    """How a custom resource says it: its paths are known by its definition, not by the server's routes."""
    told = f'{verb} is not supported on resources of kind "{qualified(group, plural)}"'
    return ApiError("MethodNotAllowed", told, details=details(group, plural, ""))


def no_such() -> ApiError:
    return ApiError("NotFound", "the server could not find the requested resource")
