"""Databases in a pipeline, through SQLAlchemy."""

from fireworks.database.creating import create_table
from fireworks.database.declared import TensorType
from fireworks.database.engine import connect
from fireworks.database.query import QuerySource
from fireworks.database.table import TableSource
from fireworks.database.writer import WriterSource

__all__ = ["QuerySource", "TableSource", "TensorType", "WriterSource", "connect", "create_table"]
