"""Unsure samples that cover the embeddings: k-center over the smallest margins. A file of its own can be packed."""

import json

from wit_world import exports
from wit_world.exports.strategies import Scores, Selection
from wit_world.imports import engines, kernels, query
from wit_world.imports.types import Error_Failed, Metric, Uncertainty
from wit_world.types import Err

FACTOR = {"type": "integer", "minimum": 1, "default": 10, "description": "Unsure samples for each one that is picked."}
SCHEMA = {"type": "object", "additionalProperties": False, "properties": {"factor": FACTOR}}
STRATEGY = {"id": "margin-k-center", "summary": "Smallest margins, then k-center", "paper": "Example; no paper"}
NEEDS = ["logits", "embeddings"]


class MarginKCenter(exports.Strategies):
    def describe(self) -> str:
        strategy = STRATEGY | {"scorer": False, "needs": NEEDS, "schema": SCHEMA}
        return json.dumps({"package": "margin-k-center", "version": "0.1.0", "api": "1.1", "strategies": [strategy]})

    def needs(self, id: str, params: str) -> list[str]:
        return NEEDS

    def score(self, id: str, params: str) -> Scores:
        raise Err(Error_Failed("it selects from the whole pool"))

    def select(self, id: str, params: str, state: bytes | None) -> Selection:
        asked = query.info()
        wanted = min(asked.batch, asked.rows)
        unsure, second = kernels.uncertainty(query.input("logits"), Uncertainty.MARGIN)
        kept = unsure.top(second, min(wanted * json.loads(params)["factor"], asked.rows), None)
        points = engines.Points.of(query.input("embeddings").gather(kept))
        nearest = engines.Nearest.over(points, Metric.EUCLIDEAN)
        picks = [0][:wanted]  # the least certain of all
        while len(picks) < wanted:
            nearest.add(picks[-1:])
            farthest = nearest.farthest(None)
            if farthest is None or farthest[1] <= 0.0:  # what is left coincides with picks
                break
            picks.append(farthest[0])
        rest = sorted(set(range(len(kept))) - set(picks))
        return Selection([kept[pick] for pick in (picks + rest)[:wanted]], [], [], None)
