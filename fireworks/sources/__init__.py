"""The library of sources. Every source is here, whatever module it lives in."""

from fireworks.database import TableSource, WriterSource
from fireworks.sources.batching import BatchingSource
from fireworks.sources.caching import CachingSource
from fireworks.sources.combining import ConcatSource, InterleaveSource, ZipSource
from fireworks.sources.feedback import FeedbackSource
from fireworks.sources.filtering import FilterSource, RouterSource
from fireworks.sources.joining import JoinSource
from fireworks.sources.memory import MessageSource
from fireworks.sources.mixing import MixSource
from fireworks.sources.normalizer import NormalizerSource
from fireworks.sources.repeating import LoopingSource, RepeaterSource
from fireworks.sources.sampler import SamplerSource
from fireworks.sources.sharding import ShardSource
from fireworks.sources.shuffler import ShufflerSource
from fireworks.sources.subset import SubsetSource, train_test_split

__all__ = [
    "BatchingSource",
    "CachingSource",
    "ConcatSource",
    "FeedbackSource",
    "FilterSource",
    "InterleaveSource",
    "JoinSource",
    "LoopingSource",
    "MessageSource",
    "MixSource",
    "NormalizerSource",
    "RepeaterSource",
    "RouterSource",
    "SamplerSource",
    "ShardSource",
    "ShufflerSource",
    "SubsetSource",
    "TableSource",
    "WriterSource",
    "ZipSource",
    "train_test_split",
]
