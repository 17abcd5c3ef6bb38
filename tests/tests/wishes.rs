//! Strategies made of others that look at arrays themselves, through the program: quotas, several wishes, filters, and
//! members that are trusted by what they found.

use querist_data::arrays::write_npy;
use querist_protocol::philox::Stream;
use querist_tests::cli::{Place, Said, records};
use serde_json::{Value, json};

/// Arrays as files of a folder.
struct Arrays {
    place: Place,
    inputs: Vec<String>,
}

impl Arrays {
    fn new() -> Self {
        Self { place: Place::new(), inputs: Vec::new() }
    }

    fn with(mut self, name: &str, rows: &[Vec<f32>]) -> Self {
        let (file, columns) = (format!("{name}.npy"), rows.first().map_or(1, Vec::len));
        write_npy(&self.place.at(&file), &[rows.len(), columns], &rows.concat()).unwrap();
        self.inputs.extend(["--input".to_owned(), format!("{name}={file}")]);
        self
    }

    fn with_labels(mut self, labels: &[u32]) -> Self {
        write_npy(&self.place.at("labels.npy"), &[labels.len()], labels).unwrap();
        self.inputs.extend(["--input".to_owned(), "labelled.labels=labels.npy".to_owned()]);
        self
    }

    fn call(&self, args: &[&str]) -> Said {
        let inputs: Vec<&str> = self.inputs.iter().map(String::as_str).collect();
        self.place.call(&[&["select", "--format", "json"], args, &inputs].concat())
    }

    fn answer(&self, args: &[&str]) -> Value {
        let said = self.call(args);
        assert_eq!(said.code, Some(0), "{args:?}: {}", said.err);
        serde_json::from_str(&said.out).unwrap()
    }

    fn ask(&self, strategy: &str, params: &Value, batch: usize) -> Value {
        let (params, batch) = (params.to_string(), batch.to_string());
        self.answer(&["--strategy", strategy, "--params", &params, "--budget", &batch])
    }

    fn rows(&self, strategy: &str, params: &Value, batch: usize) -> Vec<u64> {
        rows(&self.ask(strategy, params, batch))
    }
}

fn rows(answer: &Value) -> Vec<u64> {
    answer["rows"].as_array().unwrap().iter().map(|row| row.as_u64().unwrap()).collect()
}

fn floats(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

fn noise(rows: usize, columns: usize, seed: u64) -> Vec<Vec<f32>> {
    let mut numbers = Stream::new(seed, 0);
    (0..rows).map(|_| (0..columns).map(|_| numbers.next_uniform() as f32 * 4.0 - 2.0).collect()).collect()
}

/// A pool of 120 rows with 15 labelled ones, in three classes.
fn dataset() -> Arrays {
    let labels: Vec<u32> = (0..15).map(|row| [0, 0, 0, 1, 1, 2][row % 6]).collect();
    let groups: Vec<Vec<f32>> = (0..120).map(|row| vec![(row % 9) as f32]).collect();
    Arrays::new()
        .with("logits", &noise(120, 3, 1))
        .with("embeddings", &noise(120, 4, 2))
        .with("labelled.logits", &noise(15, 3, 3))
        .with("labelled.embeddings", &noise(15, 4, 4))
        .with("query.rare", &noise(3, 4, 5))
        .with("extra.video", &groups)
        .with("labelled.extra.video", &groups[..15])
        .with_labels(&labels)
}

fn predicted(logits: &[Vec<f32>]) -> Vec<usize> {
    logits.iter().map(|row| (0..row.len()).rev().max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap()).collect()
}

#[test]
fn quotas_fill_up_what_classes_lack() {
    // Ten rows of class 0, ten of class 1, two of class 2, the later the less sure.
    let logits: Vec<Vec<f32>> = (0..22)
        .map(|row| {
            let mut logits = vec![0.0; 3];
            logits[if row < 10 {
                0
            } else if row < 20 {
                1
            } else {
                2
            }] = 5.0 - 0.1 * row as f32;
            logits
        })
        .collect();
    let arrays = Arrays::new()
        .with("logits", &logits)
        .with("embeddings", &noise(22, 2, 9))
        .with("labelled.embeddings", &noise(7, 2, 10))
        .with_labels(&[0, 0, 0, 0, 0, 1, 1]);
    assert_eq!(arrays.rows("balanced", &json!({}), 6), [21, 20, 19, 18, 17, 9]);
    assert_eq!(arrays.rows("balanced", &json!({"ignore": [2]}), 6), [19, 18, 17, 9, 16, 8]);
    // A member that sees the whole pool is asked once a class, about the rows of it.
    let member = json!({"member": {"id": "k-center-greedy"}});
    let classes: Vec<u64> = arrays.rows("balanced", &member, 6).iter().map(|row| row.min(&20) / 10).collect();
    assert_eq!(classes, [2, 2, 1, 1, 1, 0]);
    // Quotas as the pool is, and a class of its own.
    let all: Vec<u64> = arrays.rows("balanced", &json!({"target": "pool"}), 22);
    assert_eq!(all.len(), 22);
    assert_eq!(arrays.rows("balanced", &json!({"target": [0.0, 0.0, 1.0]}), 2), [21, 20]);
    // In one sum: without weight it is the member alone, with much the quotas.
    let exact = |lambda: f64, more: Value| {
        let mut params = json!({"form": "exact", "lambda": lambda});
        params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        arrays.ask("balanced", &params, 6)
    };
    assert_eq!(rows(&exact(0.0, json!({}))), arrays.rows("margin", &json!({}), 6));
    let mut strict = rows(&exact(1e6, json!({})));
    strict.sort_unstable();
    assert_eq!(strict, [16, 17, 18, 19, 20, 21], "of two ways that miss the quotas alike the less sure one");
    for (params, part) in [
        (json!({"target": [1.0]}), "3 classes"),
        (json!({"target": [0.0, 0.0, 0.0]}), "above 0"),
        (json!({"ignore": [3]}), "`ignore`"),
        (json!({"form": "exact", "member": {"id": "badge"}}), "a score of every row"),
    ] {
        let params = params.to_string();
        let said = arrays.call(&["--strategy", "balanced", "--params", &params, "--budget", "6"]);
        assert!(said.code.is_some_and(|code| code != 0) && said.err.contains(part), "{params}: {}", said.err);
    }
}

/// The worked example of a mix.
fn five() -> Arrays {
    let logits: Vec<Vec<f32>> =
        [0.5f32, 0.6, 0.9, 0.7, 0.55].iter().map(|&p: &f32| vec![(p / (1.0 - p)).ln(), 0.0]).collect();
    let embeddings = [[0.0, 0.0], [1.0, 0.0], [0.0, 2.0], [3.0, 0.0], [3.0, 0.1f32]].map(|row| row.to_vec());
    Arrays::new().with("logits", &logits).with("embeddings", &embeddings).with("labelled.embeddings", &[vec![0.0, 0.1]])
}

#[test]
fn the_worked_example_of_a_mix() {
    let arrays = five();
    let mix =
        |more: &str, batch: &str| arrays.answer(&["--mix", &format!("margin + diversity{more}"), "--budget", batch]);
    let assert_scores = |answer: &Value, expected: &[f64]| {
        for (score, expected) in floats(&answer["scores"]).iter().zip(expected) {
            assert!((score - expected).abs() < 1e-6, "{answer}");
        }
    };
    let answer = mix("", "3");
    assert_eq!(rows(&answer), [4, 0, 1]);
    assert_scores(&answer, &[1.749_444_9, 1.033_314_8, 0.833_148_3]);
    let answer = mix(" min_distance 0.5", "3");
    assert_eq!((rows(&answer), &answer["short"]), (vec![4, 1, 2], &json!(false)));
    assert_scores(&answer, &[1.749_444_9, 0.834_809_9, 0.632_981_8]);
    // The others are near-duplicates of a label and of a pick.
    let answer = mix(" min_distance 0.5", "4");
    assert_eq!((rows(&answer), &answer["short"]), (vec![4, 1, 2], &json!(true)));
    assert_eq!(answer["diagnostics"]["blocked_by_distance"], 2.0);
}

#[test]
fn terms_add_up_to_scores() {
    let arrays = dataset();
    let wishes = "margin + 0.5 diversity + 2 classes(uniform) + toward(query.rare) + 0.3 typical(5) \
                  min_distance 0.4 at_most 2 per extra.video";
    let answer = arrays.answer(&["--mix", wishes, "--budget", "12"]);
    let terms = answer["terms"].as_array().unwrap();
    let names: Vec<&str> = terms.iter().map(|term| term["term"].as_str().unwrap()).collect();
    assert_eq!(names, ["margin", "diversity", "classes", "toward", "typical"]);
    let scores = floats(&answer["scores"]);
    for (pick, score) in scores.iter().enumerate() {
        let sum = terms.iter().map(|term| floats(&term["parts"])[pick]).fold(0.0, |sum, part| sum + part);
        assert_eq!(sum, *score, "pick {pick}");
    }
    let params = json!({
        "terms": [
            {"kind": "score", "member": {"id": "margin"}},
            {"kind": "diversity", "weight": 0.5},
            {"kind": "classes", "weight": 2, "target": "uniform"},
            {"kind": "toward", "rows": "query.rare"},
            {"kind": "typical", "weight": 0.3, "k": 5},
        ],
        "min_distance": 0.4,
        "at_most": {"group": "extra.video", "count": 2},
    });
    assert_eq!(arrays.ask("mix", &params, 12)["rows"], answer["rows"], "the short form stands for these parameters");
    // A file becomes an array.
    let moved = wishes.replace("query.rare", "query.rare.npy");
    let named = arrays.call(&["--mix", &moved, "--budget", "12"]);
    assert!(named.err.contains("names no array") || named.code == Some(0), "{}", named.err);
    std::fs::copy(arrays.place.at("query.rare.npy"), arrays.place.at("these.npy")).unwrap();
    let given = arrays.answer(&["--mix", &wishes.replace("query.rare", "these.npy"), "--budget", "12"]);
    assert_eq!(given["rows"], answer["rows"]);
}

/// A mix by its definition: every term of every row at every step.
fn plainly(weights: [f64; 5], min_distance: f64, most: usize, labelled: usize, batch: usize) -> Vec<(u64, f64)> {
    let (logits, embeddings) = (noise(120, 3, 1), noise(120, 4, 2));
    let (known, pointed) = (noise(15, 4, 4)[..labelled].to_vec(), noise(3, 4, 5));
    let labels: Vec<usize> = (0..labelled).map(|row| [0, 0, 0, 1, 1, 2][row % 6]).collect();
    let distance = |x: &[f32], y: &[f32]| {
        x.iter().zip(y).map(|(&x, &y)| (f64::from(x) - f64::from(y)).powi(2)).sum::<f64>().sqrt()
    };
    let nearest = |row: usize, to: &[Vec<f32>]| {
        to.iter().map(|other| distance(&embeddings[row], other)).fold(f64::INFINITY, f64::min)
    };
    let margin = |row: usize| {
        let exps: Vec<f64> = logits[row].iter().map(|&z| f64::from(z).exp()).collect();
        let mut shares: Vec<f64> = exps.iter().map(|e| e / exps.iter().sum::<f64>()).collect();
        shares.sort_by(f64::total_cmp);
        shares[1] - shares[2]
    };
    let ranked = |values: &[f64], row: usize| {
        let above = values.iter().filter(|value| **value > values[row]).count() as f64;
        let ties = values.iter().filter(|value| **value == values[row]).count() as f64 - 1.0;
        1.0 - (above + ties / 2.0) / (values.len() as f64 - 1.0)
    };
    let scaled = |values: &[f64], row: usize| {
        let low = values.iter().copied().fold(f64::INFINITY, f64::min);
        let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        (values[row] - low) / (high - low)
    };
    let margins: Vec<f64> = (0..120).map(margin).collect();
    let toward: Vec<f64> = (0..120).map(|row| -nearest(row, &pointed)).collect();
    let typical: Vec<f64> = (0..120)
        .map(|row| {
            let others = (0..120).filter(|&other| other != row);
            let mut all: Vec<f64> = others.map(|other| distance(&embeddings[row], &embeddings[other])).collect();
            all.sort_by(f64::total_cmp);
            -all[..5].iter().sum::<f64>() / 5.0
        })
        .collect();
    let predicted = predicted(&logits);
    let mean: Vec<f32> =
        (0..4).map(|c| (embeddings.iter().map(|row| f64::from(row[c])).sum::<f64>() / 120.0) as f32).collect();
    let scale = match labelled {
        0 => (0..120).map(|row| distance(&embeddings[row], &mean)).fold(0.0, f64::max),
        _ => (0..120).map(|row| nearest(row, &known)).fold(0.0, f64::max),
    };
    let lack = |class: usize, picks: &[usize]| {
        let have = labels.iter().filter(|label| **label == class).count()
            + picks.iter().filter(|row| predicted[**row] == class).count();
        (labelled + batch) as f64 / 3.0 - have as f64
    };
    let largest = (0..3).map(|class| lack(class, &[]).abs()).fold(0.0, f64::max);
    let mut picks: Vec<usize> = Vec::new();
    let mut all = Vec::new();
    while all.len() < batch {
        let chosen: Vec<Vec<f32>> =
            known.iter().cloned().chain(picks.iter().map(|&row| embeddings[row].clone())).collect();
        let group = |row: usize| row % 9;
        let is_open = |row: usize| {
            let taken = (0..labelled).filter(|&other| group(other) == group(row)).count()
                + picks.iter().filter(|other| group(**other) == group(row)).count();
            !picks.contains(&row) && nearest(row, &chosen) >= min_distance && taken < most
        };
        let sum = |row: usize| {
            let diversity = match chosen.is_empty() {
                true => 1.0 - distance(&embeddings[row], &mean) / scale,
                false => nearest(row, &chosen) / scale,
            };
            let terms = [
                ranked(&margins, row),
                diversity,
                lack(predicted[row], &picks) / largest,
                scaled(&toward, row),
                scaled(&typical, row),
            ];
            terms.iter().zip(weights).map(|(term, weight)| weight * term).sum::<f64>()
        };
        let open = (0..120).filter(|&row| is_open(row)).map(|row| (row, sum(row)));
        let Some((row, score)) = open.reduce(|best, one| if one.1 > best.1 { one } else { best }) else { break };
        picks.push(row);
        all.push((row as u64, score));
    }
    all
}

#[test]
fn a_mix_is_its_definition() {
    let terms = |weights: [f64; 5]| {
        json!([
            {"kind": "score", "member": {"id": "margin"}, "weight": weights[0]},
            {"kind": "diversity", "weight": weights[1]},
            {"kind": "classes", "weight": weights[2]},
            {"kind": "toward", "rows": "query.rare", "weight": weights[3]},
            {"kind": "typical", "k": 5, "weight": weights[4]},
        ])
    };
    let labelled = dataset();
    let unlabelled = Arrays::new()
        .with("logits", &noise(120, 3, 1))
        .with("embeddings", &noise(120, 4, 2))
        .with("query.rare", &noise(3, 4, 5))
        .with("extra.video", &(0..120).map(|row| vec![(row % 9) as f32]).collect::<Vec<_>>());
    for (arrays, count) in [(&labelled, 15), (&unlabelled, 0)] {
        for (weights, apart, most) in [
            ([1.0, 0.5, 2.0, 1.0, 0.3], 0.0, 99),
            ([0.0, 1.0, 0.0, 0.0, 0.0], 0.0, 99),
            ([0.3, 0.0, 1.0, 0.0, 0.0], 0.9, 99),
            ([1.0, 1.0, 0.0, 0.7, 0.0], 0.6, 4),
        ] {
            let mut params = json!({"terms": terms(weights), "min_distance": apart});
            if most < 99 {
                params["at_most"] = json!({"group": "extra.video", "count": most});
            }
            let answer = arrays.ask("mix", &params, 40);
            let expected = plainly(weights, apart, most, count, 40);
            let context = format!("{params}, {count} labelled");
            assert_eq!(rows(&answer), expected.iter().map(|pick| pick.0).collect::<Vec<_>>(), "{context}");
            for (score, (row, expected)) in floats(&answer["scores"]).iter().zip(&expected) {
                assert!((score - expected).abs() < 1e-6, "{context}, row {row}: {score}, expected {expected}");
            }
            assert_eq!(answer["short"] == true, expected.len() < 40, "{context}");
        }
    }
}

/// Of many labelled rows most rows of the pool see a part only; the picks are those of seeing all.
#[test]
fn many_labelled_rows_change_no_pick() {
    let mut embeddings = noise(2_500, 4, 21);
    let (labelled, pointed) = (noise(1_300, 4, 22), noise(3, 4, 5));
    // What is labelled already, one of the early labels and a late one, and rows that are equal.
    (embeddings[7], embeddings[8]) = (labelled[3].clone(), labelled[1_200].clone());
    (embeddings[900], embeddings[40]) = (embeddings[1].clone(), embeddings[1].clone());
    let distance = |x: &[f32], y: &[f32]| {
        x.iter().zip(y).map(|(&x, &y)| (f64::from(x) - f64::from(y)).powi(2)).sum::<f64>().sqrt()
    };
    let nearest = |row: &[f32], to: &[Vec<f32>]| to.iter().map(|y| distance(row, y)).fold(f64::INFINITY, f64::min);
    let start: Vec<f64> = embeddings.iter().map(|row| nearest(row, &labelled)).collect();
    let scale = start.iter().copied().fold(0.0, f64::max);
    let pointed_at: Vec<f64> = embeddings.iter().map(|row| -nearest(row, &pointed)).collect();
    let low = pointed_at.iter().copied().fold(f64::INFINITY, f64::min);
    let high = pointed_at.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let arrays = Arrays::new()
        .with("embeddings", &embeddings)
        .with("labelled.embeddings", &labelled)
        .with("query.rare", &pointed)
        .with_labels(&[0; 1_300]);
    for (toward, apart) in [(0.0, 0.0), (1.0, 0.0), (0.1, 0.5), (1.0, 0.5)] {
        let (mut distances, mut expected) = (start.clone(), Vec::new());
        for _ in 0..60 {
            let sum = |row: usize| toward * (pointed_at[row] - low) / (high - low) + distances[row] / scale;
            let open = (0..embeddings.len()).filter(|row| distances[*row] >= apart && !expected.contains(row));
            let best = open.reduce(|best, row| if sum(row) > sum(best) { row } else { best });
            let Some(best) = best else { break };
            for (known, row) in distances.iter_mut().zip(&embeddings) {
                *known = known.min(distance(row, &embeddings[best]));
            }
            expected.push(best);
        }
        let terms = json!([{"kind": "toward", "rows": "query.rare", "weight": toward}, {"kind": "diversity"}]);
        let picks = arrays.rows("mix", &json!({"terms": terms, "min_distance": apart}), 60);
        let expected: Vec<u64> = expected.into_iter().map(|row| row as u64).collect();
        assert_eq!(picks, expected, "{toward} {apart}");
    }
}

#[test]
fn a_mix_of_one_wish_is_the_strategy_of_that_wish() {
    let arrays = dataset();
    let mix = |wishes: &str| rows(&arrays.answer(&["--mix", wishes, "--budget", "30"]));
    assert_eq!(mix("margin"), arrays.rows("margin", &json!({}), 30));
    assert_eq!(mix("2 cal"), arrays.rows("cal", &json!({}), 30), "a selector whose scores rank the pool");
    assert_eq!(mix("diversity"), arrays.rows("k-center-greedy", &json!({}), 30));
    assert_eq!(mix("margin at_most 30 per extra.video"), mix("margin"), "a bound that nothing reaches");
    // Far is the opposite of near, up to a constant.
    let values = |wishes: &str| {
        let answer = arrays.answer(&["--mix", wishes, "--budget", "120"]);
        rows(&answer)
    };
    let mut away = values("away(query.rare)");
    away.reverse();
    assert_eq!(values("toward(query.rare)"), away);
    let unlabelled = Arrays::new().with("logits", &noise(60, 3, 1)).with("embeddings", &noise(60, 4, 2));
    let answer = unlabelled.answer(&["--mix", "diversity", "--budget", "20"]);
    assert!(answer["seconds"].as_f64().unwrap() > 0.0, "work that no member does takes time, too");
    assert_eq!(rows(&answer), unlabelled.rows("k-center-greedy", &json!({}), 20));
}

#[test]
fn wishes_that_cannot_be_met_are_refused_by_name() {
    let arrays = dataset();
    for (params, part) in [
        (json!({"terms": [{"kind": "score"}]}), "needs `member`"),
        (json!({"terms": [{"kind": "toward"}]}), "needs `rows`"),
        (json!({"terms": [{"kind": "diversity", "k": 3}]}), "has no `k`"),
        (json!({"terms": [{"kind": "diversity", "weight": 0}]}), "no weight above 0"),
        (json!({"terms": [{"kind": "toward", "rows": "extra.video"}]}), "expected query.NAME"),
        (json!({"terms": [{"kind": "classes"}, {"kind": "classes"}]}), "two of kind `classes`"),
        (json!({"terms": [{"kind": "score", "member": {"id": "badge"}}]}), "no order by scores"),
        (json!({"terms": [{"kind": "score", "member": {"id": "tcm"}}]}), "made of others itself"),
        (json!({"terms": [{"kind": "diversity"}], "at_most": {"group": "logits", "count": 1}}), "expected extra.NAME"),
    ] {
        let params = params.to_string();
        let said = arrays.call(&["--strategy", "mix", "--params", &params, "--budget", "3"]);
        assert!(said.code.is_some_and(|code| code != 0) && said.err.contains(part), "{params}: {}", said.err);
    }
    let said = arrays.call(&["--mix", "margin diversity", "--budget", "3"]);
    said.fails(2, &["`--mix`", "`diversity` is no constraint"]);
    let half = dataset().with("extra.half", &vec![vec![0.5]; 120]).with("labelled.extra.half", &vec![vec![1.0]; 15]);
    let said = half.call(&["--mix", "margin at_most 1 per extra.half", "--budget", "3"]);
    assert!(said.err.contains("holds 0.5 in row 0"), "{}", said.err);
}

fn degrees(angle: f64) -> Vec<f32> {
    vec![angle.to_radians().cos() as f32, angle.to_radians().sin() as f32]
}

#[test]
fn filters_leave_what_is_near_labels() {
    let pool: Vec<Vec<f32>> = [0.0, 10.0, 20.0, 90.0, 180.0].map(degrees).to_vec();
    let arrays = Arrays::new()
        .with("logits", &noise(5, 2, 3))
        .with("embeddings", &pool)
        .with("labelled.embeddings", &[degrees(4.0), degrees(101.0)])
        .with_labels(&[0, 1]);
    let sorted = |mut rows: Vec<u64>| {
        rows.sort_unstable();
        rows
    };
    let answer = arrays.ask("seals", &json!({"k": 1}), 2);
    assert_eq!((sorted(rows(&answer)), &answer["diagnostics"]["filter.rows"]), (vec![0, 3], &json!(2.0)));
    let answer = arrays.ask("seals", &json!({"k": 1}), 3);
    assert_eq!((sorted(rows(&answer)), &answer["diagnostics"]["filter.filled"]), (vec![0, 1, 3], &json!(1.0)));
    let answer = arrays.ask("anchors", &json!({"k": 2, "max_pool": 3}), 3);
    assert_eq!((sorted(rows(&answer)), &answer["diagnostics"]["filter.rows"]), (vec![0, 1, 3], &json!(3.0)));
    let whole = dataset();
    let top = whole.rows("margin", &json!({}), 10);
    assert_eq!(whole.rows("seals", &json!({"k": 120}), 10), top, "neighbours are all rows");
    // The member on the rows that brute force leaves.
    let (embeddings, known) = (noise(120, 4, 2), noise(15, 4, 4));
    let unit = |row: &Vec<f32>| {
        let norm = row.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
        row.iter().map(|&x| f64::from(x) / norm).collect::<Vec<f64>>()
    };
    let distance = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| (x - y).powi(2)).sum::<f64>();
    for k in [1, 4] {
        let mut left = [false; 120];
        for label in &known {
            let mut order: Vec<usize> = (0..120).collect();
            let to = |row: usize| distance(&unit(&embeddings[row]), &unit(label));
            order.sort_by(|&a, &b| to(a).total_cmp(&to(b)));
            order[..k].iter().for_each(|&row| left[row] = true);
        }
        let expected: Vec<u64> =
            whole.rows("margin", &json!({}), 120).into_iter().filter(|row| left[*row as usize]).take(8).collect();
        assert_eq!(whole.rows("seals", &json!({"k": k}), 8), expected, "k = {k}");
    }
    let few = whole.ask("anchors", &json!({"anchors": 2, "k": 5, "max_pool": 9}), 8);
    assert_eq!(few["diagnostics"]["filter.rows"], 9.0);
    assert_eq!(few["rows"], whole.ask("anchors", &json!({"anchors": 2, "k": 5, "max_pool": 9}), 8)["rows"]);
    let unlabelled = Arrays::new().with("logits", &noise(30, 3, 1)).with("embeddings", &noise(30, 4, 2));
    let answer = unlabelled.ask("seals", &json!({}), 5);
    assert_eq!(answer["diagnostics"]["filter.unfiltered"], 1.0);
    assert_eq!(rows(&answer), unlabelled.rows("margin", &json!({}), 5));
}

#[test]
fn trust_is_learnt_from_round_to_round() {
    for (id, figure) in [("tailor", "share.1"), ("albl", "trust.1")] {
        let text = format!(
            "version = 1\ndataset = {{ name = \"digits\", test = 397 }}\nmodel = {{ name = \"mlp\" }}\n\
             recipe = {{ epochs = 3 }}\nbudget = {{ initial = 20, batch = 10, rounds = 3 }}\n\
             strategy = {{ id = \"{id}\", params = {{ members = [{{ id = \"random\" }}, {{ id = \"margin\" }}] }} }}\n\
             compute = {{ threads = 1 }}\n"
        );
        let place = Place::with_run(&text);
        place.good(&["run", "run.toml", "--out", "r"]);
        let all = records(&place.at("r"));
        let figures: Vec<f64> = all[..3].iter().map(|record| record["diagnostics"][figure].as_f64().unwrap()).collect();
        assert!(figures.iter().all(|share| (0.0..=1.0).contains(share)), "{id}: {figures:?}");
        let state = std::fs::read(place.at("r/rounds/0001/state.bin")).unwrap();
        // Ten picks of two rounds wait for nothing: their labels came.
        assert!(state.len() > 20, "{id}: {} bytes", state.len());
        if id == "albl" {
            assert!(all[0]["diagnostics"].get("reward").is_none() && all[1]["diagnostics"]["reward"].is_number());
        } else {
            assert!(all[0]["diagnostics"].get("rarest.1").is_none());
        }
    }
}

/// What each wish added to each pick is recorded, and the report shows it.
#[test]
fn a_run_keeps_what_each_wish_added() {
    let place = Place::with_run(
        r#"version = 1
dataset = { name = "digits", test = 397 }
model = { name = "mlp" }
recipe = { epochs = 3 }
budget = { initial = 20, batch = 10, rounds = 2 }
compute = { threads = 1 }

[strategy]
id = "mix"

[[strategy.params.terms]]
kind = "score"
member = { id = "margin" }

[[strategy.params.terms]]
kind = "diversity"
weight = 0.5
"#,
    );
    place.good(&["run", "run.toml", "--out", "r"]);
    let all = records(&place.at("r"));
    for (round, record) in all[..2].iter().enumerate() {
        let [margin, diversity] = ["margin", "diversity"].map(|name| floats(&record["terms"][name]));
        let text = std::fs::read_to_string(place.at(&format!("r/rounds/{round:04}/picks.csv"))).unwrap();
        let mut lines = text.lines();
        let score = lines.next().unwrap().split(',').position(|name| name == "score").unwrap();
        let scores: Vec<f64> = lines.map(|line| line.split(',').nth(score).unwrap().parse().unwrap()).collect();
        let sums: Vec<f64> = margin.iter().zip(&diversity).map(|(a, b)| a + b).collect();
        assert_eq!((sums, scores.len()), (scores, 10), "round {round}");
    }
    assert!(all[2].get("terms").is_none(), "{}", all[2]);
    place.good(&["report", "r", "--html", "r.html"]);
    let page = scraper::Html::parse_document(&std::fs::read_to_string(place.at("r.html")).unwrap());
    let said = |selector: &str| -> Vec<String> {
        let selector = scraper::Selector::parse(selector).unwrap();
        page.select(&selector).map(|found| found.text().collect::<String>()).collect()
    };
    assert!(said("h2").contains(&"What each wish added".to_owned()), "{:?}", said("h2"));
    let titles = scraper::Selector::parse("figure img").unwrap();
    let first = page.select(&titles).next().unwrap().attr("title").unwrap();
    assert!(first.starts_with("rank 0, ") && first.contains("margin ") && first.contains("diversity "), "{first}");
    assert_eq!(said("figcaption").iter().filter(|caption| caption.contains("mostly ")).count(), 20);
}
