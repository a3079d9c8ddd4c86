"""What repetitions are known by, and more that is counted."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0002"
down_revision: Final = "0001"


def upgrade() -> None:
    """Add it. What is there already stays as it is: nothing was counted, and no repetition is known."""
    op.add_column(
        "transactions", sa.Column("is_concurrent", sa.Boolean(), server_default=sa.text("false"), nullable=False)
    )
    op.add_column("transactions", sa.Column("values_digest", sa.BigInteger(), nullable=True))
    op.create_index("transactions_started", "transactions", ["identity", "started_at"], unique=False)
    for name in (
        "repeated_meter_values",
        "early_meter_values",
        "meter_values_of_another_connector",
        "transaction_data_out_of_order",
        "early_stops",
        "unreadable_timestamps",
        "implausible_energy",
    ):
        op.add_column("totals", sa.Column(name, sa.BigInteger(), server_default=sa.text("0"), nullable=False))
