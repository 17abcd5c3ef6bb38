"""Unsure samples that lie far apart.

The `factor * batch` samples with the smallest margin between their two most probable classes are kept. Of these the
least certain is picked first; each next pick is the one whose embedding is farthest from all picks so far.

Replace this text with your formula and your citation. `sh build.sh` makes the package; `bindings` then has every type
and call with its documentation. Rows, scores and arrays are the host's, and its kernels do the work.
"""

import json

from wit_world import exports
from wit_world.exports import strategies
from wit_world.imports import arrays, engines, kernels, query
from wit_world.imports.types import Metric, Uncertainty

SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "factor": {
            "type": "integer",
            "minimum": 1,
            "maximum": 1000,
            "default": 10,
            "description": "Samples kept for the second step, as a multiple of the batch.",
        }
    },
}
NEEDS = ["logits", "embeddings"]


class Strategies(exports.Strategies):
    """What the host calls. Parameters come as JSON, checked against the schema and with every default."""

    def describe(self) -> str:
        strategy = {
            "id": "margin-apart",
            "summary": "Samples with small margins whose embeddings lie far apart",
            "paper": "Example of the plugin kit; no paper",
            "scorer": False,
            "needs": NEEDS,
            "schema": SCHEMA,
        }
        return json.dumps(
            {"package": "margin-apart", "version": "0.1.0", "api": "1.1", "strategies": [strategy]}
        )

    def needs(self, id: str, params: str) -> list[str]:
        return NEEDS

    def score(self, id: str, params: str) -> strategies.Scores:
        raise NotImplementedError("margin-apart selects from the whole pool")

    def select(self, id: str, params: str, state: bytes | None) -> strategies.Selection:
        asked = query.info()
        wanted = min(asked.batch, asked.rows)
        kept = min(wanted * json.loads(params)["factor"], asked.rows)
        unsure, second = kernels.uncertainty(query.input("logits"), Uncertainty.MARGIN)
        candidates = unsure.top(second, kept, None)

        points = engines.Points.of(query.input("embeddings").gather(candidates))
        nearest = engines.Nearest.over(points, Metric.EUCLIDEAN)
        taken = arrays.Mask.of(kept)
        # Candidate 0 is the least certain of all.
        picks = [0]
        while len(picks) < wanted:
            nearest.add(picks[-1:])
            taken.exclude(picks[-1:])
            farthest = nearest.farthest(taken)
            if farthest is None or farthest[1] <= 0.0:
                break
            picks.append(farthest[0])
            query.progress(len(picks), wanted)
        rows = [candidates[pick] for pick in picks]
        # What is left coincides with picks: the least certain first.
        missing = wanted - len(rows)
        rest = [row for row in unsure.top(second, wanted, None) if row not in rows]
        rows += rest[:missing]
        return strategies.Selection(rows, [], [("fallback_count", float(missing))], None)
