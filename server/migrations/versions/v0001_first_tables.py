"""The first tables."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0001"
down_revision: Final = None


def upgrade() -> None:
    """Make them."""
    op.create_table(
        "anomalies",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("identity", sa.Text(), nullable=False),
        sa.Column("transaction_id", sa.BigInteger(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("anomalies_by_kind", "anomalies", ["kind", "id"], unique=False)
    op.create_index("anomalies_of", "anomalies", ["identity", "id"], unique=False)
    op.create_table(
        "charge_points",
        sa.Column("identity", sa.Text().with_variant(sa.Text(collation="C"), "postgresql"), nullable=False),
        sa.Column("registration", sa.Text(), nullable=False),
        sa.Column("boot", sa.Text(), nullable=True),
        sa.Column("booted_at", sa.Float(), nullable=True),
        sa.Column("node", sa.Text(), nullable=False),
        sa.Column("connected_at", sa.Float(), nullable=True),
        sa.Column("last_seen", sa.Float(), nullable=False),
        sa.Column("configuration", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("identity"),
    )
    op.create_index("charge_points_found", "charge_points", ["registration", "node", "identity"], unique=False)
    op.create_table(
        "connectors",
        sa.Column("identity", sa.Text(), nullable=False),
        sa.Column("connector_id", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("identity", "connector_id"),
    )
    op.create_table(
        "id_tags",
        sa.Column("id_tag", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("expiry_date", sa.Text(), nullable=True),
        sa.Column("parent_id_tag", sa.Text(), nullable=True),
        sa.Column("one_at_a_time", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id_tag"),
    )
    op.create_table(
        "passwords",
        sa.Column("identity", sa.Text(), nullable=False),
        sa.Column("phc", sa.Text(), nullable=True),
        sa.Column("proposed", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("identity"),
    )
    op.create_table(
        "sequences",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("first_value", sa.BigInteger(), nullable=False),
        sa.Column("next_value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "settings",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "totals",
        sa.Column("node", sa.Text(), nullable=False),
        sa.Column("started", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("repeated_starts", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("concurrent_starts", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("stopped", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("repeated_stops", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("unknown_stops", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("without_transaction_id", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("superseded", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("late_stops", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("energy_wh", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("backward_meters", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("meter_values", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("meter_values_out_of_order", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("meter_values_unknown_transaction", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("anomalies", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("node"),
    )
    op.create_table(
        "transactions",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("identity", sa.Text(), nullable=False),
        sa.Column("connector_id", sa.BigInteger(), nullable=False),
        sa.Column("id_tag", sa.Text(), nullable=False),
        sa.Column("meter_start", sa.BigInteger(), nullable=False),
        sa.Column("started_at", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("meter_stop", sa.BigInteger(), nullable=True),
        sa.Column("stopped_at", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("meter_values", sa.Integer(), nullable=False),
        sa.Column("sampled_at", sa.Float(), nullable=True),
        sa.Column("meter_last", sa.BigInteger(), nullable=True),
        sa.Column("received_at", sa.Float(), nullable=False),
        sa.Column("ended_at", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("transactions_of", "transactions", ["identity", "id"], unique=False)
    op.create_index(
        "transactions_open",
        "transactions",
        ["identity", "connector_id"],
        unique=True,
        sqlite_where=sa.text("state = 'open'"),
        postgresql_where=sa.text("state = 'open'"),
    )
    op.create_index(
        "transactions_open_ids",
        "transactions",
        ["id"],
        unique=False,
        sqlite_where=sa.text("state = 'open'"),
        postgresql_where=sa.text("state = 'open'"),
    )
    op.create_index(
        "transactions_open_tags",
        "transactions",
        ["id_tag"],
        unique=False,
        sqlite_where=sa.text("state = 'open'"),
        postgresql_where=sa.text("state = 'open'"),
    )
    op.create_index(
        "transactions_superseded_ids",
        "transactions",
        ["id"],
        unique=False,
        sqlite_where=sa.text("state = 'superseded'"),
        postgresql_where=sa.text("state = 'superseded'"),
    )
