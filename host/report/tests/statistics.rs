//! Statistics beside scipy's, of the numbers in `statistics.json`, which `statistics.py` writes.

use querist_report::statistics::{PairedTest, area_over_labels, area_over_rounds, detectable, holm, isotonic, power};
use serde::Deserialize;

#[derive(Deserialize)]
struct Expected {
    tests: Vec<Test>,
    power: Vec<Power>,
    holm: Holm,
    isotonic: Vec<Isotonic>,
    areas: Vec<Areas>,
}

#[derive(Deserialize)]
struct Test {
    values: Vec<f64>,
    mean: f64,
    std: f64,
    t: f64,
    p: f64,
    half_width: f64,
    detectable: f64,
}

#[derive(Deserialize)]
struct Power {
    effect: f64,
    n: usize,
    power: f64,
}

#[derive(Deserialize)]
struct Holm {
    p: Vec<f64>,
    corrected: Vec<f64>,
}

#[derive(Deserialize)]
struct Isotonic {
    values: Vec<f64>,
    rising: Vec<f64>,
}

#[derive(Deserialize)]
struct Areas {
    labelled: Vec<usize>,
    accuracy: Vec<f64>,
    over_labels: f64,
    over_rounds: f64,
}

fn expected() -> Expected {
    serde_json::from_str(include_str!("statistics.json")).unwrap()
}

#[track_caller]
fn near(found: f64, wanted: f64, what: &str) {
    assert!((found - wanted).abs() <= 1e-7 * wanted.abs().max(1e-3), "{what}: {found}, scipy has {wanted}");
}

#[test]
fn t_tests_and_what_they_could_see() {
    for Test { values, mean, std, t, p, half_width, detectable: least } in expected().tests {
        let found = PairedTest::of(&values).unwrap();
        near(found.difference.mean, mean, "mean");
        near(found.difference.std.unwrap(), std, "std");
        near(found.t, t, "t");
        near(found.p, p, "p");
        near(found.difference.half_width(0.95).unwrap(), half_width, "half width");
        near(detectable(std, values.len()).unwrap(), least, "detectable");
    }
}

#[test]
fn power_of_t_tests() {
    for Power { effect, n, power: wanted } in expected().power {
        near(power(effect * 0.03, 0.03, n).unwrap(), wanted, &format!("power of {effect} with {n}"));
    }
}

#[test]
fn corrections_areas_and_rising_curves() {
    let Expected { holm: Holm { p, corrected }, isotonic: curves, areas, .. } = expected();
    holm(&p).iter().zip(corrected).for_each(|(&found, wanted)| near(found, wanted, "Holm"));
    for Isotonic { values, rising } in curves {
        isotonic(&values).iter().zip(rising).for_each(|(&found, wanted)| near(found, wanted, "isotonic"));
    }
    for Areas { labelled, accuracy, over_labels, over_rounds } in areas {
        let curve: Vec<(usize, f64)> = labelled.into_iter().zip(accuracy).collect();
        near(area_over_labels(&curve).unwrap(), over_labels, "area over labels");
        near(area_over_rounds(&curve).unwrap(), over_rounds, "area over rounds");
    }
}
