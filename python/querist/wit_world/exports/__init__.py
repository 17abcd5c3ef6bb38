"""What a strategy is to have."""

from __future__ import annotations

from abc import abstractmethod
from typing import Protocol

from . import strategies


class Strategies(Protocol):
    """A strategy: derive from it, and have all of its methods."""

    @abstractmethod
    def describe(self) -> str:
        """What it says of itself, as JSON: `package`, `version`, `api` and `strategies`."""
        raise NotImplementedError

    @abstractmethod
    def needs(self, id: str, params: str) -> list[str]:
        """The arrays that strategy `id` wants under `params` (a JSON object).

        Raises: `wit_world.types.Err(wit_world.imports.types.Error)`
        """
        raise NotImplementedError

    @abstractmethod
    def score(self, id: str, params: str) -> strategies.Scores:
        """Scores one tile; an error for strategies that are no scorers.

        Raises: `wit_world.types.Err(wit_world.imports.types.Error)`
        """
        raise NotImplementedError

    @abstractmethod
    def select(self, id: str, params: str, state: bytes | None) -> strategies.Selection:
        """Selects from the whole pool; an error for scorers.

        Raises: `wit_world.types.Err(wit_world.imports.types.Error)`
        """
        raise NotImplementedError
