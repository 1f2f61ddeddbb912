"""Databases in a pipeline, through SQLAlchemy."""

from fireworks.database.columns import create_table
from fireworks.database.engine import connect
from fireworks.database.table import TableSource
from fireworks.database.tensors import TensorType
from fireworks.database.writer import WriterSource

__all__ = ["TableSource", "TensorType", "WriterSource", "connect", "create_table"]
