"""The tables of the store, as SQLAlchemy knows them. `migrations` makes them; a test holds the two together.

Times that charge points reported stay as they were written; times of this system are seconds since 1970.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, Float, Index, Integer, MetaData, Table, Text, text

METADATA: Final = MetaData()

OPEN: Final = "open"
STOPPED: Final = "stopped"
SUPERSEDED: Final = "superseded"

TRANSACTIONS: Final = Table(
    "transactions",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("identity", Text, nullable=False),
    Column("connector_id", BigInteger, nullable=False),
    Column("id_tag", Text, nullable=False),
    Column("meter_start", BigInteger, nullable=False),
    Column("started_at", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("meter_stop", BigInteger),
    Column("stopped_at", Text),
    Column("reason", Text),
    Column("meter_values", Integer, nullable=False),
    Column("sampled_at", Float),
    Column("meter_last", BigInteger),
    Column("received_at", Float, nullable=False),
    Column("ended_at", Float),
    Column("is_concurrent", Boolean, nullable=False, server_default=text("false")),
    Column("values_digest", BigInteger),
    Index("transactions_of", "identity", "id"),
    # A start that is repeated after its end is found by what it says.
    Index("transactions_started", "identity", "started_at"),
    # At most one runs on a connector: what two processes start there at once, one of them has to look at again.
    Index(
        "transactions_open",
        "identity",
        "connector_id",
        unique=True,
        sqlite_where=text("state = 'open'"),
        postgresql_where=text("state = 'open'"),
    ),
    Index(
        "transactions_open_ids",
        "id",
        sqlite_where=text("state = 'open'"),
        postgresql_where=text("state = 'open'"),
    ),
    Index(
        "transactions_superseded_ids",
        "id",
        sqlite_where=text("state = 'superseded'"),
        postgresql_where=text("state = 'superseded'"),
    ),
    Index(
        "transactions_open_tags",
        "id_tag",
        sqlite_where=text("state = 'open'"),
        postgresql_where=text("state = 'open'"),
    ),
)

ANOMALIES: Final = Table(
    "anomalies",
    METADATA,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("at", Float, nullable=False),
    Column("kind", Text, nullable=False),
    Column("identity", Text, nullable=False),
    Column("transaction_id", BigInteger),
    Column("detail", Text, nullable=False),
    Index("anomalies_of", "identity", "id"),
    Index("anomalies_by_kind", "kind", "id"),
)

# A row for each process that ever wrote, so that no two wait for each other's: the sum is the ledger.
TOTALS: Final = Table(
    "totals",
    METADATA,
    Column("node", Text, primary_key=True),
    *(
        Column(name, BigInteger, nullable=False, server_default=text("0"))
        for name in (
            "started",
            "repeated_starts",
            "concurrent_starts",
            "stopped",
            "repeated_stops",
            "unknown_stops",
            "without_transaction_id",
            "superseded",
            "late_stops",
            "energy_wh",
            "backward_meters",
            "meter_values",
            "meter_values_out_of_order",
            "meter_values_unknown_transaction",
            "anomalies",
            "repeated_meter_values",
            "early_meter_values",
            "meter_values_of_another_connector",
            "transaction_data_out_of_order",
            "early_stops",
            "unreadable_timestamps",
            "implausible_energy",
        )
    ),
)

SUMS: Final = tuple(column for column in TOTALS.columns if column.name != "node")
"""What is counted."""

SEQUENCES: Final = Table(
    "sequences",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("first_value", BigInteger, nullable=False),
    Column("next_value", BigInteger, nullable=False),
)

CHARGE_POINTS: Final = Table(
    "charge_points",
    METADATA,
    # Compared by code points, as SQLite does: pages begin behind an identity, or at a prefix.
    Column("identity", Text().with_variant(Text(collation="C"), "postgresql"), primary_key=True),
    # "unknown" before the first boot.
    Column("registration", Text, nullable=False),
    Column("boot", Text),
    Column("booted_at", Float),
    # The process that has its connection; empty when none has. Not NULL: PostgreSQL does not see that an index has
    # those of one registration without a node in the order of their identities.
    Column("node", Text, nullable=False),
    Column("connected_at", Float),
    Column("last_seen", Float, nullable=False),
    Column("configuration", Text),
    Index("charge_points_found", "registration", "node", "identity"),
)

CONNECTORS: Final = Table(
    "connectors",
    METADATA,
    Column("identity", Text, primary_key=True),
    Column("connector_id", BigInteger, primary_key=True),
    Column("status", Text, nullable=False),
)

ID_TAGS: Final = Table(
    "id_tags",
    METADATA,
    # Case-folded: IdTokens are case-insensitive (core 7.28).
    Column("id_tag", Text, primary_key=True),
    Column("status", Text, nullable=False),
    Column("expiry_date", Text),
    Column("parent_id_tag", Text),
    Column("one_at_a_time", Boolean, nullable=False),
)

SETTINGS: Final = Table(
    "settings",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

PASSWORDS: Final = Table(
    "passwords",
    METADATA,
    Column("identity", Text, primary_key=True),
    Column("phc", Text),
    # That of a password which its charge point was sent, and may use already.
    Column("proposed", Text),
)
