"""What others need to check our tokens (OpenID Connect Discovery 1.0; pkg/serviceaccount/openidmetadata.go)."""

from collections.abc import Sequence
from typing import Any

from apiserver.authn import keys

CONFIGURATION_PATH = "/.well-known/openid-configuration"
JWKS_PATH = "/openid/v1/jwks"
JWKS_TYPE = "application/jwk-set+json"


def configuration(issuer: str, jwks_uri: str, public_keys: Sequence[keys.PublicKey]) -> dict[str, Any]:
    return {
        "issuer": issuer,
        "jwks_uri": jwks_uri or f"{issuer.rstrip('/')}{JWKS_PATH}",
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": sorted({keys.algorithm_of(key) for key in public_keys}),
    }


def key_set(public_keys: Sequence[keys.PublicKey]) -> dict[str, Any]:
    return {"keys": [keys.jwk(key) for key in public_keys]}
