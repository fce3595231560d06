"""The doors, put together from the command line: who somebody is, what they may, what else must hold, and what the server says of its own keys."""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from aiohttp import web
from msgspec.structs import replace

from apiserver.admission import chain, priority
from apiserver.admission.webhook_client import CallFailed, WebhookClient
from apiserver.app import App
from apiserver.authn import discovery, keys, tokens
from apiserver.authn.chain import Authenticator
from apiserver.authn.requests import TokenRequests
from apiserver.authn.reviews import IdentityReviews
from apiserver.authn.service_accounts import Issuer, Verifier
from apiserver.authz import bootstrap_policy
from apiserver.authz.node import NodeAuthorizer
from apiserver.authz.rbac import Rbac
from apiserver.authz.reviews import AccessReviews
from apiserver.authz.union import AlwaysAllow, Union
from apiserver.config import Config, ConfigurationError
from apiserver.config_files import Unusable
from apiserver.conversion_webhooks import Converter
from apiserver.filters import audit_policy
from apiserver.filters.audit import IMPERSONATOR, Auditor, LogFile
from apiserver.filters.authenticate import authenticate
from apiserver.filters.authorize import authorize
from apiserver.filters.impersonate import impersonate
from apiserver.handlers import refusals, respond, update, writing
from apiserver.handlers.call import Call
from apiserver.handlers.proxy import endpoints
from apiserver.handlers.refusals import no_such
from apiserver.machinery.objects import Object, metadata
from apiserver.registry import schemas
from apiserver.request import Attributes, Authorizer, User, Write
from apiserver.storage import encryption
from apiserver.storage.writer import SystemWriter

Answer = Callable[[Object, User, str], Awaitable[Object]]
INTO_PODS = ("exec", "attach", "portforward")


class Security:
    """Raises ConfigurationError for flags that do not fit, and for files that cannot be used."""

    def __init__(self, config: Config, app: App) -> None:
        self._config = config
        self._app = app
        if config.admission_control_config_file:
            raise ConfigurationError("--admission-control-config-file is not served: plug-ins have no settings of their own here")
        self.rbac = Rbac(app.caches) if "RBAC" in config.authorization_modes else None
        self.authorizer = self._authorizer()
        self.writer = SystemWriter(app)
        self._webhooks = WebhookClient(self._behind)
        app.converter = Converter(self._webhooks)
        try:
            issuer, public_keys = self._keys()
            self.authenticator = self._authenticator(public_keys)
        except (Unusable, OSError) as error:
            raise ConfigurationError(str(error)) from None
        self._install(issuer, public_keys)
        self._audit_log = self._audit()

    # --- for the chain of filters -------------------------------------------------------------------------------------

    async def who(self, request: web.BaseRequest) -> User:
        user = await authenticate(request, self.authenticator)
        if any(name.lower().startswith("impersonate-") for name in request.headers):
            request[IMPERSONATOR] = user
            return await impersonate(request.headers, user, self.authorizer)
        return user

    async def may(self, attributes: Attributes) -> str:
        """Why it is allowed. Raises ApiError (403)."""
        reason = await authorize(attributes, self.authorizer)
        if attributes.verb == "get" and attributes.resource == "pods" and attributes.subresource in INTO_PODS and not attributes.group:
            # A WebSocket begins with a GET, and still does in a pod what somebody who may only read must not
            # (upstream's AuthorizePodWebsocketUpgradeCreatePermission).
            await authorize(replace(attributes, verb="create"), self.authorizer)
        return reason

    async def bootstrap(self) -> None:
        """What every cluster begins with: the default roles, and the priorities of the system itself. Raises StoreError."""
        if self.rbac is not None:
            await bootstrap_policy.ensure(self.writer)
        await priority.ensure_system_classes(self.writer)

    # --- from the flags -----------------------------------------------------------------------------------------------

    def _authorizer(self) -> Authorizer:
        found: list[Authorizer] = []
        for mode in self._config.authorization_modes:
            if mode == "RBAC" and self.rbac is not None:
                found.append(self.rbac)
            elif mode == "AlwaysAllow":
                found.append(AlwaysAllow())
            elif mode == "Node":
                found += self._node_authorizer()
            else:
                raise ConfigurationError(f"--authorization-mode: unknown mode {mode}: expected Node, RBAC or AlwaysAllow")
        if not found:
            raise ConfigurationError("--authorization-mode: at least one mode is needed")
        return Union(found)

    def _node_authorizer(self) -> list[Authorizer]:
        return [NodeAuthorizer(self._app.caches)]

    def _keys(self) -> tuple[Issuer | None, list[keys.PublicKey]]:
        config = self._config
        signing = config.service_account_signing_key_file
        if not signing and self.rbac is not None:
            raise ConfigurationError("--service-account-signing-key-file is required: pods get no tokens without it")
        public = [Path(each) for each in config.service_account_key_files or ((signing,) if signing else ())]
        issuer = Issuer(config.service_account_issuer, keys.read_private(Path(signing)), config.api_audiences) if signing else None
        return issuer, keys.read_public(public)

    def _authenticator(self, public_keys: list[keys.PublicKey]) -> Authenticator:
        config, reader = self._config, self._app.caches
        accounts = Verifier([config.service_account_issuer], public_keys, config.api_audiences, reader, time.time) if public_keys else None
        return Authenticator(
            static=tokens.StaticTokens(tokens.read_file(Path(config.token_auth_file))) if config.token_auth_file else None,
            accounts=accounts,
            bootstrap=tokens.BootstrapTokens(reader, time.time) if config.enable_bootstrap_token_auth else None,
            anonymous=config.anonymous_auth,
            audiences=config.api_audiences,
        )

    def _audit(self) -> LogFile | None:
        config = self._config
        if not config.audit_policy_file or not config.audit_log_path:
            return None  # as upstream: without a policy nothing is recorded, without a log there is nowhere to
        try:
            policy = audit_policy.read(Path(config.audit_policy_file))
            found = LogFile(config.audit_log_path, config.audit_log_maxsize_mb, config.audit_log_maxbackup)
        except (Unusable, OSError) as error:
            raise ConfigurationError(f"--audit-policy-file, --audit-log-path: {error}") from None
        self._app.audit = Auditor(policy, found.write, self._app.clock)
        return found

    def _behind(self, namespace: str, service: str, port: int) -> tuple[str, int]:
        """One of the pods behind a service: this server stands outside of the services' addresses."""
        found = self._app.caches.get("services", namespace, service)
        if found is None:
            raise CallFailed(f'service "{service}" not found')
        names = [str(each.get("name") or "") for each in (found.get("spec") or {}).get("ports") or () if each.get("port") == port]
        places = [place for place in endpoints(self._app.caches, namespace, service) if place[0] in names]
        if not places:
            raise CallFailed(f'no endpoints available for service "{service}"')
        _, address, at = random.choice(places)
        return address, at

    def _settle(self, write: Write) -> None:
        """An object that a webhook changed is as clean and complete as one that a client sent. Raises ApiError."""
        served = self._app.registry.find(write.resource.group, write.resource.version, write.resource.plural)
        if served is None or served.checker is None or write.object is None or write.object.get("kind") != served.resource.kind:
            return
        served.checker.decode(write.object, validation="Ignore")
        served.checker.default(write.object)

    async def close(self) -> None:
        """After the last request."""
        await self._webhooks.close()
        if self._audit_log is not None:
            self._audit_log.close()

    # --- what it adds to the app --------------------------------------------------------------------------------------

    def _install(self, issuer: Issuer | None, public_keys: list[keys.PublicKey]) -> None:
        app, config = self._app, self._config
        app.authorize = self.may
        table: dict[str, Answer] = {**AccessReviews(self.authorizer, self.rbac).table(), **IdentityReviews(self.authenticator).table()}
        for resource, answer in table.items():
            app.virtual[resource] = _virtual(answer)
        if issuer is not None:
            requests = TokenRequests(issuer, app.caches, time.time, int(config.service_account_max_token_expiration_s))
            app.subresources[("serviceaccounts", "token")] = _token(requests)
        if public_keys:
            self._install_pages(public_keys)
        try:
            on, off = config.enable_admission_plugins, config.disable_admission_plugins
            app.admission.append(chain.chain(chain.Parts(app.caches, self.writer, self.authorizer, self.rbac, self._webhooks, self._settle), on, off))
        except chain.UnknownPlugin as error:
            raise ConfigurationError(f"--enable-admission-plugins, --disable-admission-plugins: {error}") from None

    def _install_pages(self, public_keys: list[keys.PublicKey]) -> None:
        issuer = self._config.service_account_issuer

        async def configuration(request: web.BaseRequest) -> web.StreamResponse:
            if request.path.rstrip("/") != discovery.CONFIGURATION_PATH:
                raise no_such()
            return respond.json(discovery.configuration(issuer, f"https://{request.host}{discovery.JWKS_PATH}", public_keys))

        async def key_set(request: web.BaseRequest) -> web.StreamResponse:
            if request.path.rstrip("/") != discovery.JWKS_PATH:
                raise no_such()
            body = respond.encode(discovery.key_set(public_keys))
            return respond.raw(body, content_type=discovery.JWKS_TYPE)

        self._app.pages[".well-known"] = configuration
        self._app.pages["openid"] = key_set


def _virtual(answer: Answer) -> Callable[[Call, Object], Awaitable[Object]]:
    async def handle(call: Call, obj: Object) -> Object:
        return await answer(obj, call.user, call.namespace)

    return handle


def _token(requests: TokenRequests) -> Callable[[Call], Awaitable[web.StreamResponse]]:
    async def handle(call: Call) -> web.StreamResponse:
        if call.info.verb != "create":
            raise refusals.not_allowed()
        obj, text = await writing.body(call)
        writing.admit_kind(obj, "authentication.k8s.io/v1", "TokenRequest")
        writing.decoded(call, obj, schemas.check_kind("authentication.k8s.io", "v1", "TokenRequest"), text)
        metadata(obj)["name"] = metadata(obj).get("name") or call.name
        update.check_name(call, obj)
        write = writing.write_of(call, "CREATE", obj, None, name=call.name)
        obj = await writing.admit(call, write)
        await writing.validate_admission(call, write)
        return respond.json(await requests.create(obj, call.user, call.namespace, call.name, call.warnings), 201)

    return handle


def encryption_entries(path: str) -> list[encryption.Entry]:
    """Raises ConfigurationError."""
    try:
        return encryption.read(Path(path))
    except (Unusable, OSError) as error:
        raise ConfigurationError(f"--encryption-provider-config: {error}") from None
