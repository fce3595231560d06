"""Requests that lead nowhere, in Kubernetes' words."""

from apiserver.machinery.status import ApiError


def not_allowed() -> ApiError:
    return ApiError("MethodNotAllowed", "the server does not allow this method on the requested resource")


def no_such() -> ApiError:
    return ApiError("NotFound", "the server could not find the requested resource")
