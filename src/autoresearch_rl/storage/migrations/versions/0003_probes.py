"""Self-evaluation: trials keep their probes, and the pruner's verdict. Baseline runs are reference runs."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("trials", sa.Column("probes", sa.JSON, nullable=False, server_default="[]"))
    for name in ("stop_at", "forecast"):
        op.add_column("trials", sa.Column(name, sa.Double))
    op.execute("UPDATE trials SET kind = 'reference' WHERE kind = 'baseline'")


def downgrade() -> None:
    for name in ("probes", "stop_at", "forecast"):
        op.drop_column("trials", name)
    op.execute("UPDATE trials SET kind = 'baseline' WHERE kind = 'reference'")
