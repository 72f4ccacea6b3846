"""What a deployment is: `driftline.yaml`, overridden by the environment, as frozen values.

Each key has one environment variable, `DRIFTLINE_` and the path of the key in capitals joined by `_`
(`stores.pg.roles.read.user`: `DRIFTLINE_STORES_PG_ROLES_READ_USER`). Secrets are only ever named by files, which are
read when they are needed, so that a rotated one is seen. Relative paths are relative to the file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Final, get_args, get_origin

from msgspec import Meta

from app.core.errors import ContractViolation, Unready
from app.core.guard import DEFAULT_LIMITS, Limits
from app.core.limits import FENCE_SCOPE_LENGTH_MAX
from app.core.shard import FenceTokens, shard_parts
from app.core.store import Converter, StoreKind
from app.declared.document import Node, plain_scalar, read_document
from app.declared.fault import Fault, Place, Refused, nearest, shown
from app.declared.shape import Broken, Member, Shaper, bare, is_record, members_of

ENVIRONMENT_PREFIX: Final = "DRIFTLINE_"
_NOT_SETTINGS: Final = frozenset({"DRIFTLINE_CONFIG"})
_SECRET_KEYS: Final = (
    "password",
    "passwd",
    "secret",
    "token",
    "key",
    "sasl_password",
    "key_password",
    "digest_key",
    "seal_key",
    "ledger_key",
    "approver_key",
    "planner_key",
    "placeholder",
)

_STORE_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,39}\Z")

Port = Annotated[int, Meta(ge=1, le=65535, description="a TCP port, 1 to 65535")]


def _secret(path: Path, what: str) -> str:
    """Read a secret from its file, without the line's end."""
    try:
        return path.read_text("utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise Unready(
            f"{what} cannot be read: {reason}", where=str(path), hint="check the path and its mode"
        ) from error


@dataclass(frozen=True, slots=True)
class RoleSettings:
    """A login of one store."""

    user: Annotated[str, Meta(min_length=1, max_length=128, description="the login's name")]
    password_file: Annotated[Path, Meta(description="a file that holds the password and nothing else")] | None = None

    def password(self) -> str:
        """Return the password as its file holds it now; empty without a file."""
        return _secret(self.password_file, f"the password of {self.user}") if self.password_file else ""


@dataclass(frozen=True, slots=True)
class StagingSettings:
    """A copy of a store, with the same tables and logins, in which repairs are rehearsed instead of in the store."""

    host: Annotated[str, Meta(min_length=1, max_length=253, description="the copy's address")]
    port: Port


@dataclass(frozen=True, slots=True)
class StandbySettings:
    """A server that follows a store by replication, with the same logins."""

    host: Annotated[str, Meta(min_length=1, max_length=253, description="the standby's address")]
    port: Port


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """One store: how to reach it, how its connector writes, and who may do what in it."""

    name: str
    kind: Annotated[StoreKind, Meta(description="postgres, mariadb, mysql or mongodb")]
    topic_prefix: Annotated[
        str,
        Meta(pattern=r"^[A-Za-z0-9_-]{1,60}\Z", description="the connector's topic.prefix: letters, digits, _ and -"),
    ]
    converter: Annotated[Converter, Meta(description="json, json_schema or avro, as the source connector writes")]
    host: Annotated[str, Meta(min_length=1, max_length=253, description="the server's address")]
    port: Port
    database: Annotated[str, Meta(min_length=1, max_length=63, description="the database that holds the tables")]
    schema: Annotated[
        str,
        Meta(
            pattern=r"^[a-z][a-z0-9_]{0,39}\Z",
            description="where Driftline's own tables live: a schema (PostgreSQL) or a database (MariaDB, MySQL)",
        ),
    ] = "driftline"
    connector: Annotated[str, Meta(min_length=1, description="the name of its source connector in Connect")] | None = (
        None
    )
    ca_file: Annotated[Path, Meta(description="certificates to verify the server with; none: no TLS")] | None = None
    roles: Annotated[
        dict[str, RoleSettings],
        Meta(description="logins by role: capture, beacon, read, apply, conduct, canary, admin"),
    ] = field(default_factory=dict)

    fence_token: Annotated[
        int,
        Meta(ge=0, le=2**31 - 1, description="the token that repairs of it carry; its fence must stand at it"),
    ] = 0

    shard_fence_tokens: Annotated[
        dict[str, Annotated[int, Meta(ge=1, le=2**31 - 1)]],
        Meta(description="the tokens of shards of it that are fenced for themselves, as {orders/my/3: 2}"),
    ] = field(default_factory=dict)

    staging: (
        Annotated[StagingSettings, Meta(description="a copy with the same tables and logins, to rehearse repairs in")]
        | None
    ) = None

    standbys: Annotated[
        tuple[StandbySettings, ...],
        Meta(description="servers that follow it, of MariaDB and MySQL: repairs slow down while they are behind"),
    ] = ()

    @property
    def connector_task(self) -> str:
        """Which task brings this store's changes, as `connector/task`; empty where the connector is not named.

        Records do not say it. The connectors of PostgreSQL, MariaDB and MySQL run as one task, whose number is 0;
        MongoDB's may run as several, so that only the connector's name is known.
        """
        if self.connector is None:
            return ""
        return self.connector if self.kind is StoreKind.MONGODB else f"{self.connector}/0"

    def role(self, name: str) -> RoleSettings:
        """Return the login of a role; `ContractViolation` if the store has none."""
        if name not in self.roles:
            hint = f"add stores.{self.name}.roles.{name} with user and password_file"
            raise ContractViolation(f'store "{self.name}" has no role "{name}"', hint=hint)
        return self.roles[name]


ROLES: Final = ("capture", "beacon", "read", "apply", "conduct", "canary", "admin")


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """The worker's own settings."""

    http_host: Annotated[str, Meta(min_length=1, description="where metrics and health are served")] = "127.0.0.1"
    http_port: Port = 8471
    instance_id: Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]{1,60}\Z", description="unique among workers")] = (
        "worker-1"
    )
    poll_ms: Annotated[int, Meta(ge=1, le=10_000, description="how long one poll of Kafka waits")] = 100
    block_rows_max: Annotated[int, Meta(ge=1, le=100_000, description="records taken from Kafka at a time")] = 2_000
    memory_bytes_max: Annotated[
        int, Meta(ge=402_653_184, description="resident bytes that a worker's buffers are sized for")
    ] = 1_073_741_824
    disk_free_bytes_min: Annotated[
        int, Meta(ge=1_048_576, description="free bytes in state_dir below which the worker stops until there are more")
    ] = 268_435_456


@dataclass(frozen=True, slots=True)
class ApplierSettings:
    """The applier's own settings."""

    http_host: Annotated[str, Meta(min_length=1, description="where metrics and health are served")] = "127.0.0.1"
    http_port: Port = 8472
    instance_id: Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]{1,60}\Z", description="unique among appliers")] = (
        "applier-1"
    )
    panic_file: (
        Annotated[Path, Meta(description="the file that stops this applier while it is there; else keys_dir/panic")]
        | None
    ) = None
    master_keys_dir: (
        Annotated[
            Path,
            Meta(description="the folder of ledger.key, ledger.2.key..., such as a mount of secrets; else keys_dir"),
        ]
        | None
    ) = None
    writes_per_minute: Annotated[
        int, Meta(ge=1, le=1_000_000, description="repairs of one target a minute, of all appliers; undos do not count")
    ] = DEFAULT_LIMITS.writes_per_minute
    deletes_per_minute: Annotated[int, Meta(ge=0, le=1_000_000, description="of these, deletes")] = 600
    same_row_per_hour: Annotated[
        int, Meta(ge=1, le=10_000, description="repairs of one row an hour, beyond which it waits for a person")
    ] = DEFAULT_LIMITS.same_row_per_hour
    rows_per_transaction: Annotated[
        int, Meta(ge=1, le=1_000, description="rows that one transaction may write, and hold locks on")
    ] = DEFAULT_LIMITS.rows_per_transaction
    writes_per_s: Annotated[
        int, Meta(ge=1, le=100_000, description="rows that are written to a target that bears it well")
    ] = DEFAULT_LIMITS.writes_per_second
    lag_ms_max: Annotated[
        int, Meta(ge=1_000, le=3_600_000, description="milliseconds that what follows a target may be behind")
    ] = DEFAULT_LIMITS.lag_ms_max

    @property
    def limits(self) -> Limits:
        """How much this applier may write to one target."""
        return Limits(
            writes_per_minute=self.writes_per_minute,
            deletes_per_minute=self.deletes_per_minute,
            same_row_per_hour=self.same_row_per_hour,
            rows_per_transaction=self.rows_per_transaction,
            writes_per_second=self.writes_per_s,
            lag_ms_max=self.lag_ms_max,
        )


@dataclass(frozen=True, slots=True)
class ConductorSettings:
    """How much of a store may be read again, and when."""

    rows_per_s: Annotated[int, Meta(ge=1, le=1_000_000, description="rows read again per second and store")] = 500
    slice_rows: Annotated[
        int,
        Meta(ge=1, le=100_000, description="rows of a slice; at most the connectors' incremental.snapshot.chunk.size"),
    ] = 1_000
    hours: Annotated[
        list[Annotated[str, Meta(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]-([01][0-9]|2[0-3]):[0-5][0-9]\Z")]],
        Meta(max_length=16, description="stretches of the day, UTC, as 22:00-05:30; none: at any time"),
    ] = field(default_factory=list)
    pass_interval_s: Annotated[
        int, Meta(ge=0, le=31_536_000, description="seconds between two passes over a table that was read whole")
    ] = 86_400
    lag_ms_max: Annotated[
        int, Meta(ge=1_000, le=3_600_000, description="milliseconds of a log's lag beyond which reading is held back")
    ] = 10_000


@dataclass(frozen=True, slots=True)
class CanarySettings:
    """How drifts are planted in a table of Driftline's own; the replicas are all other stores with a role `canary`."""

    authority: Annotated[str, Meta(min_length=1, max_length=40, description="the store that is right of this table")]
    window_ms: Annotated[
        int, Meta(ge=1_000, le=3_600_000, description="milliseconds that the canary's contract gives the replicas")
    ] = 10_000
    interval_s: Annotated[
        int, Meta(ge=1, le=86_400, description="seconds for which a row stands in agreement before it is damaged")
    ] = 60
    patience_s: Annotated[
        int,
        Meta(ge=1, le=86_400, description="seconds past its window after which a planted drift counts as missed"),
    ] = 60


@dataclass(frozen=True, slots=True)
class ConnectSettings:
    """The Connect cluster of our own source connectors, for `driftline check`."""

    url: Annotated[str, Meta(pattern=r"^https?://[^\s]+\Z", description="the REST API, as http://host:port")]
    user: str | None = None
    password_file: Path | None = None

    def password(self) -> str:
        """Return the password as its file holds it now; empty without a file."""
        return _secret(self.password_file, "the password of Connect") if self.password_file else ""


@dataclass(frozen=True, slots=True)
class HistoryDatabase:
    """A PostgreSQL database for the history, and a login that needs nothing there but its own schema."""

    host: Annotated[str, Meta(min_length=1, max_length=253, description="the server's address")]
    port: Port
    database: Annotated[str, Meta(min_length=1, max_length=63, description="the database")]
    login: Annotated[RoleSettings, Meta(description="the login that owns the schema")]
    schema: Annotated[
        str, Meta(pattern=r"^[a-z][a-z0-9_]{0,39}\Z", description="the schema that holds the history and nothing else")
    ] = "driftline_history"
    ca_file: Annotated[Path, Meta(description="certificates to verify the server with; none: no TLS")] | None = None


@dataclass(frozen=True, slots=True)
class HistorySettings:
    """Where the history stands: in a SQLite file, or in PostgreSQL where that is told."""

    file: Annotated[Path, Meta(description="the SQLite file; else state_dir/history.sqlite")] | None = None
    postgres: Annotated[HistoryDatabase, Meta(description="a PostgreSQL database instead of the file")] | None = None


class SecurityProtocol(Enum):
    """How Kafka's clients connect."""

    PLAINTEXT = "plaintext"
    SSL = "ssl"
    SASL_PLAINTEXT = "sasl_plaintext"
    SASL_SSL = "sasl_ssl"


class SaslMechanism(Enum):
    """How Kafka's clients say who they are."""

    PLAIN = "PLAIN"
    SCRAM_SHA_256 = "SCRAM-SHA-256"
    SCRAM_SHA_512 = "SCRAM-SHA-512"


@dataclass(frozen=True, slots=True)
class KafkaSecurity:
    """TLS and SASL of every Kafka client."""

    protocol: SecurityProtocol = SecurityProtocol.PLAINTEXT
    ca_file: Annotated[Path, Meta(description="certificates to verify the brokers with")] | None = None
    certificate_file: Annotated[Path, Meta(description="this client's certificate")] | None = None
    key_file: Annotated[Path, Meta(description="this client's private key")] | None = None
    key_password_file: Annotated[Path, Meta(description="a file with the private key's password")] | None = None
    sasl_mechanism: Annotated[SaslMechanism, Meta(description="PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512")] | None = None
    sasl_user: Annotated[str, Meta(min_length=1, description="the SASL user")] | None = None
    sasl_password_file: Annotated[Path, Meta(description="a file with the SASL password")] | None = None

    @property
    def uses_sasl(self) -> bool:
        """Tell whether clients have to name a user."""
        return self.protocol in {SecurityProtocol.SASL_PLAINTEXT, SecurityProtocol.SASL_SSL}

    def client_properties(self) -> dict[str, str]:
        """Return librdkafka's properties, with the secrets as their files hold them now."""
        found = {"security.protocol": self.protocol.value}
        paths = {
            "ssl.ca.location": self.ca_file,
            "ssl.certificate.location": self.certificate_file,
            "ssl.key.location": self.key_file,
        }
        found.update({name: str(path) for name, path in paths.items() if path is not None})
        if self.key_password_file is not None:
            found["ssl.key.password"] = _secret(self.key_password_file, "the password of the client's key")
        if self.uses_sasl and self.sasl_mechanism is not None and self.sasl_password_file is not None:
            found["sasl.mechanism"] = self.sasl_mechanism.value
            found["sasl.username"] = self.sasl_user or ""
            found["sasl.password"] = _secret(self.sasl_password_file, "Kafka's SASL password")
        return found


@dataclass(frozen=True, slots=True)
class Settings:
    """A deployment."""

    deployment: Annotated[
        str,
        Meta(
            pattern=r"^[a-z0-9][a-z0-9-]{0,39}\Z",
            description="the first part of every topic of ours: lower-case letters, digits and -",
        ),
    ]
    bootstrap: Annotated[
        str,
        Meta(pattern=r"^[^\s,:]+:[0-9]{1,5}(,[^\s,:]+:[0-9]{1,5})*\Z", description="Kafka's host:port, separated by ,"),
    ]
    keys_dir: Annotated[
        Path, Meta(description="the folder of digest.key, seal.key, ledger.key, planner.key and the list of signers")
    ]
    state_dir: Annotated[Path, Meta(description="the folder of the worker's RocksDB state")]
    contracts_dir: Annotated[Path, Meta(description="the folder of the contracts, one YAML file each")]
    placeholder_file: Annotated[Path, Meta(description="the file with the connectors' unavailable.value.placeholder")]
    stores: Annotated[dict[str, StoreSettings], Meta(min_length=1, description="the stores by name")]
    approver_key_file: (
        Annotated[
            Path, Meta(description="the private key of the person who approves here, made by `driftline keys make`")
        ]
        | None
    ) = None
    registry_url: Annotated[str, Meta(pattern=r"^https?://[^\s]+\Z", description="the schema registry")] | None = None
    partitions: Annotated[
        int, Meta(ge=1, le=1_000, description="partitions of our own topics; never changed later")
    ] = 4
    standby_replicas: Annotated[
        int,
        Meta(ge=0, le=3, description="workers besides the owner that keep a copy of each partition's state up to date"),
    ] = 1
    stall_after_ms: Annotated[
        int, Meta(ge=1_000, le=3_600_000, description="milliseconds without progress until a store is stalled")
    ] = 30_000
    beacon_interval_ms: Annotated[
        int, Meta(ge=50, le=60_000, description="milliseconds between two beacons of a store")
    ] = 500
    worker: WorkerSettings = field(default_factory=WorkerSettings)
    applier: ApplierSettings = field(default_factory=ApplierSettings)
    conductor: ConductorSettings = field(default_factory=ConductorSettings)
    canary: CanarySettings | None = None
    connect: ConnectSettings | None = None
    history: HistorySettings = field(default_factory=HistorySettings)
    kafka_security: KafkaSecurity = field(default_factory=KafkaSecurity)

    @property
    def kafka(self) -> dict[str, str]:
        """What every Kafka client is made with besides its own settings: librdkafka's TLS and SASL properties."""
        return self.kafka_security.client_properties()

    @property
    def canary_stores(self) -> list[StoreSettings]:
        """The stores of the canary's table, the authority first; none where no drifts are to be planted."""
        if self.canary is None:
            return []
        authority = self.canary.authority
        taking_part = [store for store in self.stores.values() if "canary" in store.roles]
        return sorted(taking_part, key=lambda store: store.name != authority)

    @property
    def fences(self) -> FenceTokens:
        """The tokens that repairs carry."""
        stores = self.stores.values()
        shards = {shard: token for store in stores for shard, token in store.shard_fence_tokens.items()}
        return FenceTokens({store.name: store.fence_token for store in stores}, shards)

    @property
    def panic_file(self) -> Path:
        """The file that stops this host's applier while it is there."""
        return self.applier.panic_file or self.keys_dir / "panic"

    @property
    def master_keys_dir(self) -> Path:
        """The folder of the master keys that before-images are sealed under."""
        return self.applier.master_keys_dir or self.keys_dir

    @property
    def history_file(self) -> Path:
        """The SQLite file that holds the history where PostgreSQL does not."""
        return self.history.file or self.state_dir / "history.sqlite"

    @property
    def placeholder(self) -> str:
        """The text that this deployment's connectors write for a value that the log left out."""
        return _secret(self.placeholder_file, "the placeholder")


def load_settings(path: Path, environment: Mapping[str, str] | None = None) -> Settings:
    """Read `driftline.yaml`; raise `Refused` with every fault, each with its place and what to do."""
    path = path.absolute()
    root = read_document(path)
    faults = _override(root, os.environ if environment is None else environment)
    shaper = Shaper(path.parent, secrets=_SECRET_KEYS)
    _name_stores(root)
    made = shaper.record(Settings, root)
    faults += shaper.faults
    if not isinstance(made, Broken):
        faults += _across(made, root)
    if faults or isinstance(made, Broken):
        raise Refused(faults)
    return made


def _name_stores(root: Node) -> None:
    """A store's name is its key."""
    stores = root.value.get("stores") if isinstance(root.value, dict) else None
    if stores is not None and isinstance(stores.value, dict):
        for name, store in stores.value.items():
            if isinstance(store.value, dict) and "name" not in store.value:
                store.value["name"] = Node(name, store.place)


def _across(settings: Settings, root: Node) -> list[Fault]:
    """Find what is wrong with settings taken together."""
    faults = [fault for name in settings.stores for fault in _store_faults(settings, name, root)]
    faults += _prefix_faults(settings, root)
    faults += _canary_faults(settings, root)
    security = settings.kafka_security
    for key in ("sasl_mechanism", "sasl_user", "sasl_password_file"):
        if security.uses_sasl and getattr(security, key) is None:
            what = f'protocol {security.protocol.value} needs "{key}"'
            faults.append(Fault(root.at("kafka_security", "protocol"), what, f"add kafka_security.{key}"))
    if settings.beacon_interval_ms * 4 > settings.stall_after_ms:
        what = "beacons come so seldom that a healthy store would look stalled"
        faults.append(Fault(root.key_at("stall_after_ms"), what, "make stall_after_ms at least 4 x beacon_interval_ms"))
    worker, applier = settings.worker, settings.applier
    if (worker.http_host, worker.http_port) == (applier.http_host, applier.http_port):
        what = "worker and applier would serve HTTP on the same port"
        faults.append(Fault(root.at("applier", "http_port"), what, "give each its own http_port"))
    return faults


def _store_faults(settings: Settings, name: str, root: Node) -> Iterator[Fault]:
    store = settings.stores[name]
    if not _STORE_NAME.match(name):
        yield Fault(
            root.key_at("stores", name), f"{shown(name)} cannot name a store", "use lower-case letters, digits, _"
        )
    if store.name != name:
        yield Fault(root.at("stores", name, "name"), "a store's name is its key", "remove name")
    for role in store.roles:
        if role not in ROLES:
            place = root.key_at("stores", name, "roles", role)
            yield Fault(place, f"unknown role {shown(role)}", nearest(role, ROLES))
    if store.converter is Converter.AVRO and settings.registry_url is None:
        place = root.at("stores", name, "converter")
        yield Fault(place, "converter avro needs a schema registry", "add registry_url")
    if store.standbys and store.kind not in {StoreKind.MARIADB, StoreKind.MYSQL}:
        what = f"standbys of a store of kind {store.kind.value} are not named"
        yield Fault(root.at("stores", name, "standbys"), what, "remove them: PostgreSQL itself tells of its standbys")
    for shard in store.shard_fence_tokens:
        parts = shard_parts(shard)
        place = root.key_at("stores", name, "shard_fence_tokens", shard)
        if parts is None or parts[1] != name or parts[2] >= settings.partitions:
            what = f"{shown(shard)} names no shard of this store"
            yield Fault(place, what, f"name it ENTITY/{name}/PARTITION, as `driftline status` does")
        elif len(shard) > FENCE_SCOPE_LENGTH_MAX:
            what = f"{shown(shard)} is too long for the table of fences"
            yield Fault(place, what, f"shards of up to {FENCE_SCOPE_LENGTH_MAX} characters can be fenced")


def _prefix_faults(settings: Settings, root: Node) -> Iterator[Fault]:
    owner: dict[str, str] = {}
    for name, store in settings.stores.items():
        if store.topic_prefix in owner:
            what = f'topic_prefix "{store.topic_prefix}" belongs to store "{owner[store.topic_prefix]}" already'
            yield Fault(root.at("stores", name, "topic_prefix"), what, "give each connector its own prefix")
        owner.setdefault(store.topic_prefix, name)


def _canary_faults(settings: Settings, root: Node) -> Iterator[Fault]:
    if settings.canary is None:
        return
    for store in settings.canary_stores:
        if store.kind is StoreKind.MONGODB:
            place = root.key_at("stores", store.name, "roles", "canary")
            yield Fault(place, "no drifts can be planted in a store of kind mongodb", "remove the role")
    names = [store.name for store in settings.canary_stores]
    if settings.canary.authority not in names:
        what = f"the store {shown(settings.canary.authority)} has no role canary"
        hint = "name a store, and add stores.<name>.roles.canary with user and password_file"
        yield Fault(root.at("canary", "authority"), what, hint)
    elif len(names) < 2:  # noqa: PLR2004 - an authority and a replica
        what = "no other store has a role canary, and a drift needs two"
        yield Fault(root.at("canary", "authority"), what, "add stores.<name>.roles.canary to a replica")
    if settings.canary.patience_s * 1_000 <= settings.stall_after_ms:
        what = "a drift would count as missed before a store that stands still can be told to be stalled"
        yield Fault(root.at("canary", "patience_s"), what, "make patience_s longer than stall_after_ms")


def _override(root: Node, environment: Mapping[str, str]) -> list[Fault]:
    """Put the environment's values into the tree. A variable of ours that names no key is a fault: a typing error."""
    if not isinstance(root.value, dict):
        return []
    known = dict(_variables(Settings, root, ENVIRONMENT_PREFIX, ()))
    faults = []
    for name, text in sorted(environment.items()):
        if name in known:
            path, member = known[name]
            value = text if _is_text(member.type) else plain_scalar(text)
            _put(root, path, Node(value, Place(f"environment variable {name}")))
        elif name.startswith(_SECTIONS) and name not in _NOT_SETTINGS:
            place = Place(f"environment variable {name}")
            faults.append(Fault(place, "overrides no setting", nearest(name, known) if known else "unset it"))
    return faults


_SECTIONS: Final = tuple(
    f"{ENVIRONMENT_PREFIX}{name}_" for name in ("STORES", "WORKER", "APPLIER", "CANARY", "CONNECT", "KAFKA_SECURITY")
)


def _variables(
    record: type[Any], node: Node | None, prefix: str, above: tuple[str, ...]
) -> Iterator[tuple[str, tuple[tuple[str, ...], Member]]]:
    """Name the variable of each key: of each member, and of the members of each named store and role.

    What is named by more than letters, such as a shard, has none.
    """
    for member in members_of(record):
        kind = bare(member.type)
        below = node.value.get(member.name) if node is not None and isinstance(node.value, dict) else None
        name, path = f"{prefix}{member.name.upper()}", (*above, member.name)
        if is_record(kind):
            yield from _variables(kind, below, f"{name}_", path)
        elif get_origin(kind) is dict:
            of = get_args(kind)[1]
            if not is_record(bare(of)):
                continue
            entries = below.value if below is not None and isinstance(below.value, dict) else {}
            for key, entry in entries.items():
                yield from _variables(of, entry, f"{name}_{key.upper()}_", (*path, key))
        elif not (record is StoreSettings and member.name == "name"):
            yield name, (path, member)


def _is_text(declared: Any) -> bool:  # noqa: ANN401 - any type
    kind = bare(declared)
    return kind is str or kind is Path or (isinstance(kind, type) and issubclass(kind, Enum))


def _put(root: Node, path: tuple[str, ...], value: Node) -> None:
    here = root
    for step in path[:-1]:
        if not isinstance(here.value, dict):
            return
        here = here.value.setdefault(step, Node({}, value.place))
    if isinstance(here.value, dict):
        here.value[path[-1]] = value
        here.keys.setdefault(path[-1], value.place)
