"""The library of sources. Every source is here, whatever module it lives in."""

from fireworks.database import TableSource, WriterSource
from fireworks.sources.batching import BatchingSource
from fireworks.sources.caching import CachingSource
from fireworks.sources.memory import MessageSource
from fireworks.sources.normalizer import NormalizerSource
from fireworks.sources.shuffler import ShufflerSource
from fireworks.sources.subset import SubsetSource, train_test_split

__all__ = [
    "BatchingSource",
    "CachingSource",
    "MessageSource",
    "NormalizerSource",
    "ShufflerSource",
    "SubsetSource",
    "TableSource",
    "WriterSource",
    "train_test_split",
]
