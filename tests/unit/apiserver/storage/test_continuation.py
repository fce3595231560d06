"""The token between two pages: it leads on from where it was made, and nothing else is taken for one."""

import base64

import pytest

from apiserver.machinery.status import ApiError
from apiserver.storage.continuation import ListExpired, decode, encode


def test_there_and_back():
    assert decode(encode(12, "default/a")) == (12, "default/a\0")


@pytest.mark.parametrize(
    "text", ["x", "!!!", base64.urlsafe_b64encode(b"{}").decode(), base64.urlsafe_b64encode(b'{"v":"other","rv":1,"start":"a"}').decode()]
)
def test_what_is_no_token_is_refused(text):
    with pytest.raises(ApiError) as refused:
        decode(text)
    assert refused.value.code == 400


@pytest.mark.parametrize("start", ["/../secrets/", "../secrets", "a/../../b"])
def test_a_token_leads_nowhere_else(start):
    with pytest.raises(ApiError):
        decode(encode(3, start))


def test_an_expired_list_brings_a_token_that_goes_on():
    status = ListExpired("token").status()
    assert (status["code"], status["reason"], status["metadata"]) == (410, "Expired", {"continue": "token"})
