#!/usr/bin/env python3
"""Figures that scipy computes, for `statistics.rs`: `python3 statistics.py > statistics.json`.

Written with scipy 1.17. `holm` and the bootstrap are spelled out, scipy has none
and one that draws otherwise.
"""

import json

import numpy as np
from scipy import stats
from scipy.integrate import quad
from scipy.optimize import brentq, isotonic_regression

rng = np.random.default_rng(20)


def power(effect, n):
    """Chance that a two-sided t test at level .05 sees a mean of so many standard deviations.

    Over the law of the estimated deviation, as scipy's noncentral t has no value for large shifts; the two agree where
    it has one.
    """
    critical, shift, freedom = stats.t.ppf(0.975, n - 1), effect * np.sqrt(n), n - 1
    tails = lambda s: stats.norm.sf(critical * s - shift) + stats.norm.cdf(-critical * s - shift)
    law = lambda s: stats.chi.pdf(s * np.sqrt(freedom), freedom) * np.sqrt(freedom)
    found, _ = quad(lambda s: tails(s) * law(s), 0, 8, epsabs=1e-13, limit=500)
    direct = stats.nct.sf(critical, freedom, shift) + stats.nct.cdf(-critical, freedom, shift)
    assert np.isnan(direct) or abs(found - direct) < 1e-8, (effect, n, found, direct)
    return found


def test_of(values):
    found = stats.ttest_1samp(values, 0.0)
    interval = found.confidence_interval(0.95)
    return {
        "values": list(values),
        "mean": np.mean(values),
        "std": np.std(values, ddof=1),
        "t": found.statistic,
        "p": found.pvalue,
        "half_width": (interval.high - interval.low) / 2,
        "detectable": np.std(values, ddof=1) * brentq(lambda d: power(d, len(values)) - 0.8, 1e-6, 20.0 / len(values) ** 0.5),
    }


def holm(p):
    order = np.argsort(p)
    stepped = np.maximum.accumulate([min(1.0, p[at] * (len(p) - rank)) for rank, at in enumerate(order)])
    corrected = np.empty(len(p))
    corrected[order] = stepped
    return list(corrected)


samples = [rng.normal(0.01, 0.02, n) for n in (2, 3, 4, 5, 10, 30)]
p = rng.uniform(0, 0.2, 12)
curves = [rng.normal(size=12).cumsum() for _ in range(3)]
print(
    json.dumps(
        {
            "tests": [test_of(sample) for sample in samples],
            "power": [
                {"effect": effect, "n": n, "power": power(effect, n)}
                for n in (2, 3, 5, 10, 50)
                for effect in (0.1, 0.5, 1.0, 2.0)
            ],
            "holm": {"p": list(p), "corrected": holm(p)},
            "isotonic": [{"values": list(c), "rising": list(isotonic_regression(c).x)} for c in curves],
            "areas": [
                {
                    "labelled": [int(n) for n in labelled],
                    "accuracy": list(accuracy),
                    "over_labels": np.trapezoid(accuracy, labelled) / (labelled[-1] - labelled[0]),
                    "over_rounds": np.trapezoid(accuracy) / (len(labelled) - 1),
                }
                for labelled, accuracy in [
                    (np.array([10, 20, 40, 80, 160, 1000]), rng.uniform(size=6)),
                    (np.arange(1, 11) * 100, rng.uniform(size=10)),
                ]
            ],
        },
        indent=1,
    )
)
