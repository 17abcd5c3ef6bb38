"""What host and strategy both speak of.

Made from `plugin-sdk/wit` by `cargo xtask boundary`; do not edit.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Union


class FaultCode(Enum):
    """Why the host refused a call of a plugin."""

    BAD_HANDLE = 0
    BAD_INDEX = 1
    BAD_SHAPE = 2
    BAD_ARGUMENT = 3
    NOT_DECLARED = 4
    QUOTA = 5
    DEADLINE = 6
    CANCELLED = 7
    NON_FINITE = 8


class LogLevel(Enum):
    """Importance of a log line."""

    DEBUG = 0
    INFO = 1
    WARNING = 2


class Metric(Enum):
    """Distance between rows."""

    SQ_EUCLIDEAN = 0
    EUCLIDEAN = 1
    COSINE = 2


@dataclass
class Reduction_Min:
    """The smallest distance."""


@dataclass
class Reduction_Argmin:
    """The number of the nearest centre; the lowest among equals."""


@dataclass
class Reduction_Sum:
    """The sum of distances, in centre order."""


@dataclass
class Reduction_CountWithin:
    """How many centres are nearer than this radius (strictly)."""

    value: float


#: What to keep of a row's distances to a set of centres.
Reduction = Union[Reduction_Min, Reduction_Argmin, Reduction_Sum, Reduction_CountWithin]


class Uncertainty(Enum):
    """Uncertainty of a class distribution given by logits; always larger = more uncertain."""

    LEAST_CONFIDENCE = 0
    MARGIN = 1
    RATIO = 2
    ENTROPY = 3


class StreamScope(Enum):
    """Whether the round enters a stream's randomness."""

    ROUND = 0
    RUN = 1


class Init(Enum):
    """How k-means places its first centres."""

    KMEANS_PLUS_PLUS = 0
    RANDOM_POINTS = 1


@dataclass
class KmeansOptions:
    """Settings of Lloyd's algorithm."""

    clusters: int
    restarts: int
    max_iterations: int
    tolerance: float
    init: Init


class SimilarityKind(Enum):
    """Form of a similarity that falls with the Euclidean distance d of two rows, from 1 at 0; h is its width."""

    RBF = 0
    LAPLACE = 1
    STUDENT = 2
    CAUCHY = 3
    TOP_HAT = 4


@dataclass
class Similarity:
    """A similarity of two rows."""

    kind: SimilarityKind
    width: float


@dataclass
class Merge:
    """One step of a hierarchical clustering. A cluster is named by the lowest of its rows."""

    left: int
    right: int
    height: float


@dataclass
class DesignOptions:
    """How a design weighs information."""

    rank: int
    ridge: float
    labelled_weight: float
    added_weight: float


@dataclass
class QueryInfo:
    """Plain facts about the query at hand."""

    rows: int
    first_row: int
    labelled_rows: int
    classes: int
    batch: int
    round: int


@dataclass
class Fault:
    """A refused call: what kind, and a sentence with the facts."""

    code: FaultCode
    message: str


@dataclass
class Error_InvalidParams:
    """The parameters do not fit the strategy."""

    value: str


@dataclass
class Error_Unknown:
    """The package has no such strategy."""

    value: str


@dataclass
class Error_Failed:
    """The strategy cannot answer."""

    value: str


@dataclass
class Error_Fault:
    """A host call was refused and the refusal is passed on."""

    value: Fault


#: Why a strategy gives no answer.
Error = Union[Error_InvalidParams, Error_Unknown, Error_Failed, Error_Fault]
