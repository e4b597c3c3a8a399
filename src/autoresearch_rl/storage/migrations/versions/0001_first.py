"""The first schema: scripts, studies, trials, checkpoints."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    _create_scripts_and_studies()
    _create_trials()
    _create_checkpoints()


def downgrade() -> None:
    for table in ("checkpoints", "trials", "studies", "scripts"):
        op.drop_table(table)


def _create_scripts_and_studies() -> None:
    op.create_table(
        "scripts",
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("source", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("sha256", name="pk_scripts"),
    )
    op.create_table(
        "studies",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("task", sa.Text, nullable=False),
        sa.Column("settings", sa.JSON, nullable=False),
        sa.Column("fingerprint", sa.JSON, nullable=False),
        sa.Column("baseline", sa.String(64), nullable=False),
        sa.Column("created", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_studies"),
        sa.UniqueConstraint("name", name="uq_studies_name"),
        sa.ForeignKeyConstraint(["baseline"], ["scripts.sha256"], name="fk_studies_baseline_scripts"),
    )


def _create_trials() -> None:
    op.create_table(
        "trials",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("study_id", sa.Integer, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("parent", sa.String(64), nullable=False),
        sa.Column("script", sa.String(64), nullable=False),
        sa.Column("edit", sa.JSON, nullable=False),
        sa.Column("candidate", sa.JSON, nullable=True),
        sa.Column("confirms", sa.Integer, nullable=True),
        sa.Column("seed", sa.BigInteger, nullable=False),
        sa.Column("verdict", sa.String(16), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("incumbent_bpb", sa.Double, nullable=True),
        sa.Column("val_bpb", sa.Double, nullable=True),
        sa.Column("reward", sa.Double, nullable=False),
        sa.Column("train_seconds", sa.Double, nullable=False),
        sa.Column("wall_seconds", sa.Double, nullable=False),
        sa.Column("peak_memory_mb", sa.Double, nullable=False),
        sa.Column("sandbox", sa.Text, nullable=False),
        sa.Column("started", sa.Double, nullable=False),
        sa.Column("seconds", sa.JSON, nullable=False),
        sa.Column("metrics", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_trials"),
        sa.UniqueConstraint("study_id", "number", name="uq_trials_study_id_number"),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name="fk_trials_study_id_studies"),
        sa.ForeignKeyConstraint(["parent"], ["scripts.sha256"], name="fk_trials_parent_scripts"),
        sa.ForeignKeyConstraint(["script"], ["scripts.sha256"], name="fk_trials_script_scripts"),
        sqlite_autoincrement=True,
    )


def _create_checkpoints() -> None:
    op.create_table(
        "checkpoints",
        sa.Column("study_id", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("trial", sa.Integer, nullable=False),
        sa.Column("policy", sa.Text, nullable=False),
        sa.Column("blob", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("study_id", name="pk_checkpoints"),
        sa.ForeignKeyConstraint(
            ["study_id", "trial"], ["trials.study_id", "trials.number"], name="fk_checkpoints_study_id_trials"
        ),
    )
