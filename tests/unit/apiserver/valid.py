"""Is an answer valid against Kubernetes' own schema, with no field that it does not know? Clients with typed models insist on it."""

import copy
from functools import cache
from typing import Any

from kubernetes_validate import utils

utils.schema_contents = cache(utils.schema_contents)
"""The package reads its two megabytes anew for each object; the tests ask for hundreds."""


def assert_valid(obj: dict[str, Any]) -> None:
    utils.validate(copy.deepcopy(obj), "1.37", strict=True)
