"""A running API server: its store, its watch caches, its listeners, started in this order and stopped in the other."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import ssl
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from apiserver import bootstrap, masters, pages, streaming
from apiserver.app import App
from apiserver.config import Config, ConfigurationError
from apiserver.config_files import Unusable
from apiserver.custom_resources import CustomResources
from apiserver.filters.chain import Authenticate, Authorize, Chain
from apiserver.filters.inflight import Inflight
from apiserver.filters.open import everybody, everything
from apiserver.handlers import subresources, table
from apiserver.handlers.call import Call
from apiserver.handlers.respond import View
from apiserver.handlers.services import Services
from apiserver.listener import HttpServer
from apiserver.machinery.objects import Object
from apiserver.masters import Masters
from apiserver.registry import built_in
from apiserver.registry.registry import Registry
from apiserver.repair import Repair
from apiserver.security import Security, encryption_entries
from apiserver.storage.addresses import Addresses
from apiserver.storage.compaction import Compactor
from apiserver.storage.encryption import Encryption
from apiserver.storage.leases import SharedLeases
from apiserver.storage.objects import Objects
from apiserver.storage.ports import Ports
from apiserver.storage.transform import Transformer
from certs import authority
from certs.profiles import SERVING
from keelson.cogs.logs import fields
from keelson.cogs.reloading import Reloading, ServingTls
from keelson.cogs.tasks import TaskSet
from kvstore.client.client import Client
from kvstore.errors import StoreError

log = logging.getLogger(__name__)

DRAIN_S = 10.0
READY_S = 60.0
STORE_TIMEOUT_S = 10.0
STORE_KEEPALIVE_S = 10.0
BACKLOG = 1024


class Server:
    """`insecure`: everybody is the administrator, for tests of everything else."""

    def __init__(self, config: Config, *, insecure: bool = False) -> None:
        self.config = config
        self._insecure = insecure
        self._tasks = TaskSet("apiserver")
        self._reloading = Reloading(ConfigurationError, Unusable)
        self._listeners: list[asyncio.Server] = []
        self._http: HttpServer | None = None
        self.security: Security | None = None
        self.store = self._connect()
        self.app = self._build()

    def _connect(self) -> Client:
        config = self.config
        return Client(config.etcd_servers, tls=config.store_tls, timeout_s=STORE_TIMEOUT_S, keepalive_time_s=STORE_KEEPALIVE_S)

    def _build(self) -> App:
        config = self.config
        registry = built_in.registry(previews=config.previews)
        leases = {"/registry/events/": SharedLeases(self.store, int(config.event_ttl_s))}
        objects = Objects(self.store, self._transformers(registry), leases)
        app = App(registry, objects, inflight=Inflight(config.max_requests_inflight, config.max_mutating_requests_inflight))
        self._addresses = Addresses(objects, config.service_cluster_ip_range, app.now, app.new_uid, secrets.randbelow)
        self._addresses.look_first(lambda address: app.caches.get("ipaddresses.networking.k8s.io", "", address) is not None)
        services = Services(self._addresses, Ports(objects, config.service_node_port_range, secrets.randbelow))
        app.allocators["services"] = services
        self._repair = Repair(app, services)
        self._masters = Masters(app, self.store, (config.advertise_address, config.secure_port), self._addresses.first)
        app.table = _table
        pages.install(app)
        subresources.install(app)
        self._custom = CustomResources(app)
        self._streams = streaming.install(app, config, self._reloading)
        return app

    def _transformers(self, registry: Registry) -> Mapping[str, Transformer]:
        """Raises ConfigurationError."""
        path = self.config.encryption_provider_config
        if not path:
            return {}
        encrypted = Encryption(registry, encryption_entries(path))
        if self.config.encryption_provider_config_automatic_reload:
            self._reloading.add("encryption", (path,), lambda: encrypted.use(encryption_entries(path)))
        return encrypted.table

    def _guards(self) -> tuple[Authenticate, Authorize]:
        if self._insecure:
            log.warning("everybody is the administrator here")
            return everybody, everything
        self.security = Security(self.config, self.app)
        return self.security.who, self.security.may

    async def start(self) -> None:
        """Serving when it returns. Raises ConfigurationError, OSError, StoreError, TimeoutError."""
        authenticate, authorize = self._guards()
        app, config = self.app, self.config
        app.caches.start()
        async with asyncio.timeout(READY_S):
            for cache in list(app.caches.all()):
                await cache.ready.wait()
            await bootstrap.create_namespaces(app)
            await bootstrap.create_service_range(app, config.service_cluster_ip_range)
            await self._addresses.claim(masters.service(self._addresses.first, 0), self._addresses.first, dry_run=False)
            if self.security is not None:
                await self.security.bootstrap()
        if config.etcd_compaction_s:
            self._tasks.start("compaction", Compactor(self.store, config.etcd_compaction_s).run())
        self._tasks.start("custom resources", self._custom.run())
        chain = Chain(app, authenticate, authorize, config.request_timeout_s)
        self._http = HttpServer(chain)
        context = self._tls()
        for address in config.bind_addresses:
            listener = await asyncio.get_running_loop().create_server(self._http, address, config.secure_port, ssl=context, backlog=BACKLOG)
            self._listeners.append(listener)
        self._tasks.start("reloading", self._reloading.run())
        await self._masters.reconcile()
        self._tasks.start("masters", self._masters.run())
        self._tasks.start("repair", self._repair.run())
        log.info("serving securely", extra=fields(addresses=list(config.bind_addresses), port=config.secure_port))

    def _tls(self) -> ssl.SSLContext:
        config = self.config
        cert, key = config.tls_cert_file, config.tls_private_key_file
        if not cert:
            cert, key = _self_signed(Path(config.cert_dir), [*config.bind_addresses, config.advertise_address])
        serving = ServingTls(cert, key, config.client_ca_file)
        self._reloading.add("serving certificate and client authority", serving.paths, serving.refresh)
        return serving.listen

    async def stop(self) -> None:
        """Not ready first, so that nobody new is sent here; then watches end, requests finish, and the listeners go."""
        self.app.stopping = True
        with contextlib.suppress(StoreError):
            await self._masters.leave()
        await asyncio.sleep(self.config.shutdown_delay_s)
        for listener in self._listeners:
            listener.close()
        self.app.caches.end_watches()
        if self._http is not None:
            self._http.pre_shutdown()
            await self.app.inflight.idle(DRAIN_S)
            await self._http.shutdown(1.0)
        await self._streams.close()
        await self._tasks.close()
        await self.app.caches.close()
        await self.store.close()
        if self.security is not None:
            await self.security.close()
        log.info("stopped")


def _table(call: Call, objects: Sequence[Object], metadata: Object, view: View, columns: bool) -> Object:
    return table.table(call, objects, metadata, view.version, columns=columns, now=call.app.clock())


def _self_signed(folder: Path, hosts: list[str]) -> tuple[str, str]:
    """As upstream does without --tls-cert-file: good for nothing but a first try. Raises ConfigurationError."""
    cert, key = folder / "apiserver.crt", folder / "apiserver.key"
    if not cert.exists() or not key.exists():
        now = datetime.now(UTC)
        pair = authority.issue(authority.create("apiserver-self-signed", now), SERVING, "apiserver", ["127.0.0.1", "localhost", *hosts], now)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            key.touch(mode=0o600)
            key.write_bytes(pair.key_pem())
            cert.write_bytes(pair.certificate_pem())
        except OSError as error:
            raise ConfigurationError(f"--cert-dir {folder}: {error}") from None
    return str(cert), str(key)
