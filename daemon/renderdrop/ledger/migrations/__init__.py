"""Alembic's environment: how an older ledger becomes a newer one. Only ever forwards."""
