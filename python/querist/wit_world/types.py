"""How a call says that it was refused, and a strategy that it gives no answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar, Union

S = TypeVar("S")
T = TypeVar("T")
E = TypeVar("E")


@dataclass
class Some(Generic[S]):
    """A value where there may be none."""

    value: S


@dataclass
class Ok(Generic[T]):
    """An answer."""

    value: T


@dataclass(eq=False)
class Err(Exception, Generic[E]):
    """A refusal: of a call with a `Fault`, of a strategy with an `Error`."""

    value: E

    def __str__(self) -> str:
        return str(self.value)


Result = Union[Ok[T], Err[E]]
