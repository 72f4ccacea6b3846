"""`driftline beacon`: run the beacon writer until it is stopped."""

from __future__ import annotations

import secrets
import signal
from importlib.metadata import version

import click

from app.cli.exit_codes import ExitCode
from app.cli.invocation import Invocation
from app.core.beacon_writer import NONCE_BITS, BeaconRow, BeaconWriter, Role
from app.core.errors import ContractViolation, DriftlineError
from app.core.store import StoreKind


class _Told:
    """Tells logs and metrics, and remembers what health asks for."""

    def __init__(self, stores: list[str]) -> None:
        from app.adapters.logs import log
        from app.adapters.metrics import Metrics

        self._log = log()
        self.metrics = Metrics()
        self.metrics.expect((), stores)
        self.is_reached = dict.fromkeys(stores, False)

    def beacon_written(self, store: str, row: BeaconRow) -> None:
        from app import observe
        from app.adapters.system_clock import wall_ms

        del row
        self.is_reached[store] = True
        self.metrics.add(observe.BEACONS_WRITTEN, store=store)
        self.metrics.set(observe.BEACON_WRITTEN_AT, wall_ms() / 1_000, store=store)

    def store_is_down(self, store: str, fault: DriftlineError, *, again_in_s: float, is_first: bool) -> None:
        from app.adapters.logs import error_fields

        event = "store cannot take beacons" if is_first else "store still cannot take beacons"
        self._log.warning(event, store=store, again_in_ms=int(again_in_s * 1_000), **error_fields(fault))

    def beacon_missed(self, store: str, fault: DriftlineError) -> None:
        from app import observe

        del fault
        self.is_reached[store] = False
        self.metrics.add(observe.BEACONS_FAILED, store=store)

    def store_reached(self, store: str) -> None:
        self.is_reached[store] = True
        self._log.info("store takes beacons again", store=store)

    def role_changed(self, role: Role, epoch: int, unread: tuple[str, ...]) -> None:
        from app import observe

        for each in Role:
            self.metrics.set(observe.BEACON_ROLE, float(each is role), role=each.value)
        self._log.info("beacon writer is " + role.value, role=role.value, epoch=epoch)
        if role is Role.WRITING:
            for store in unread:
                self._log.warning(
                    "writing without having read a store",
                    store=store,
                    hint="its beacons may stand ahead; time moves forward to them once it answers",
                )


@click.command()
@click.option("--instance", default="beacon-1", show_default=True, help="Names this writer in logs.")
@click.option("--http-port", type=click.IntRange(0, 65535), help="Serve metrics and health here.")
@click.option("--http-host", default="127.0.0.1", show_default=True)
@click.pass_obj
def command(invocation: Invocation, instance: str, http_port: int | None, http_host: str) -> int:
    """Write a beacon into every store, twice a second. Two writers may run: one writes, the other watches."""
    from app.adapters.beacon_rows import beacon_rows
    from app.adapters.health import Health, HealthServer
    from app.adapters.logs import configure_logs
    from app.adapters.system_clock import monotonic_ms
    from app.beacon.run import BeaconProcess

    settings = invocation.settings()
    configure_logs("beacon", version("driftline"), instance)
    stores = {
        name: store
        for name, store in settings.stores.items()
        if store.kind is not StoreKind.MONGODB or "beacon" in store.roles
    }
    if not stores:
        raise ContractViolation("no store takes beacons", where=str(invocation.config))
    told = _Told(list(stores))
    writer = BeaconWriter(list(stores), secrets.randbelow(1 << NONCE_BITS), settings.beacon_interval_ms, monotonic_ms())
    process = BeaconProcess(
        writer,
        {name: beacon_rows(store) for name, store in stores.items()},
        settings.beacon_interval_ms,
        monotonic_ms,
        told,
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: process.stop())
    server = None
    if http_port is not None:
        health = Health(
            live=lambda: {"turning": True},
            ready=lambda: {f"store {name}": reached for name, reached in told.is_reached.items()},
            metrics_page=told.metrics.page,
        )
        server = HealthServer(http_host, http_port, health)
    try:
        process.run()
    finally:
        if server is not None:
            server.close()
    return ExitCode.AGREE
