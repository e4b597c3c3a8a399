"""Segments: a study may go on with other hardware. Trials know theirs, and how they were challenged."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "segments",
        sa.Column("study_id", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("number", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("fingerprint", sa.JSON, nullable=False),
        sa.Column("created", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("study_id", "number", name="pk_segments"),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name="fk_segments_study_id_studies"),
    )
    op.execute("INSERT INTO segments SELECT id, 0, fingerprint, created FROM studies")
    op.drop_column("studies", "fingerprint")
    for name in ("challenges", "segment"):
        op.add_column("trials", sa.Column(name, sa.Integer, nullable=False, server_default="0"))


def downgrade() -> None:
    op.add_column("studies", sa.Column("fingerprint", sa.JSON, nullable=False, server_default="{}"))
    op.execute(
        "UPDATE studies SET fingerprint = (SELECT fingerprint FROM segments "
        "WHERE segments.study_id = studies.id AND segments.number = 0)"
    )
    for name in ("challenges", "segment"):
        op.drop_column("trials", name)
    op.drop_table("segments")
