"""Which objects a list, a watch or a deletion of a collection is about: label and field selectors as one question about a cached item."""

from __future__ import annotations

from collections.abc import Callable

from apiserver.handlers.call import Call
from apiserver.machinery import field_selectors, selectors
from apiserver.storage.items import Item

Accepts = Callable[[Item], bool]
"""Of an item that is prepared (`Call.prepare`): field selectors look at the version of the request."""


def selection(call: Call) -> Accepts | None:
    """None if everything is wanted. Raises ApiError (400)."""
    labels = selectors.labels_of_request(call.query.get("labelSelector"))
    fields = field_selectors.fields_of_request(call.query.get("fieldSelector"))
    served = call.served
    fields.check(served.resource, served.selectable)
    if labels.is_everything and fields.is_everything:
        return None
    if fields.is_everything:
        return lambda item: labels.matches(item.obj["metadata"].get("labels"))
    if labels.is_everything:
        return lambda item: fields.matches(item.form(served))
    return lambda item: labels.matches(item.obj["metadata"].get("labels")) and fields.matches(item.form(served))
