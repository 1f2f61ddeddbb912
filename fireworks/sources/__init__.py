"""The library of sources. Every source is here, whatever module it lives in."""

from fireworks.database import QuerySource, TableSource, WriterSource
from fireworks.source import Retry
from fireworks.sources.batching import BatchingSource
from fireworks.sources.bucketing import bucketed_order
from fireworks.sources.caching import CachingSource
from fireworks.sources.combining import ConcatSource, InterleaveSource, ZipSource
from fireworks.sources.csv_files import CSVSource
from fireworks.sources.device import DeviceSource
from fireworks.sources.embedding import EmbeddingSource
from fireworks.sources.fasta import FastaSource
from fireworks.sources.feather import FeatherSource
from fireworks.sources.feedback import FeedbackSource
from fireworks.sources.filtering import FilterSource, RouterSource
from fireworks.sources.frame import FrameSource
from fireworks.sources.functions import FunctionSource
from fireworks.sources.image_folder import ImageFolderSource
from fireworks.sources.iterable import IterableSource
from fireworks.sources.joining import JoinSource
from fireworks.sources.json_lines import JSONLinesSource
from fireworks.sources.labeler import LabelerSource
from fireworks.sources.labels import Labels
from fireworks.sources.lines import LinesSource
from fireworks.sources.mapping import MapSource
from fireworks.sources.memory import MessageSource
from fireworks.sources.mixing import MixSource
from fireworks.sources.naming import LabelSource
from fireworks.sources.normalizer import NormalizerSource
from fireworks.sources.onehot import OneHotSource
from fireworks.sources.padding import PadSource
from fireworks.sources.parquet import ParquetSource
from fireworks.sources.random_rows import RowGenerators
from fireworks.sources.repeating import LoopingSource, RepeaterSource
from fireworks.sources.sampler import SamplerSource
from fireworks.sources.scikit import SklearnSource
from fireworks.sources.sharding import ShardSource
from fireworks.sources.shuffler import ShufflerSource
from fireworks.sources.subset import SubsetSource, train_test_split
from fireworks.sources.tensors import TensorSource
from fireworks.sources.tokenizer import TokenizerSource
from fireworks.sources.vocabulary import Vocabulary

__all__ = [
    "BatchingSource",
    "CSVSource",
    "CachingSource",
    "ConcatSource",
    "DeviceSource",
    "EmbeddingSource",
    "FastaSource",
    "FeatherSource",
    "FeedbackSource",
    "FilterSource",
    "FrameSource",
    "FunctionSource",
    "ImageFolderSource",
    "InterleaveSource",
    "IterableSource",
    "JSONLinesSource",
    "JoinSource",
    "LabelSource",
    "LabelerSource",
    "Labels",
    "LinesSource",
    "LoopingSource",
    "MapSource",
    "MessageSource",
    "MixSource",
    "NormalizerSource",
    "OneHotSource",
    "PadSource",
    "ParquetSource",
    "QuerySource",
    "RepeaterSource",
    "Retry",
    "RouterSource",
    "RowGenerators",
    "SamplerSource",
    "ShardSource",
    "ShufflerSource",
    "SklearnSource",
    "SubsetSource",
    "TableSource",
    "TensorSource",
    "TokenizerSource",
    "Vocabulary",
    "WriterSource",
    "ZipSource",
    "bucketed_order",
    "train_test_split",
]
