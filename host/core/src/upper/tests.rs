use querist_protocol::philox::Stream;

use super::*;
use crate::array::{Array, Buffer};
use crate::dataset::{Dataset, DatasetParts, Embeddings, Images};
use crate::fixed::FixedArray;
use crate::ids::Round;
use crate::progress::Silent;
use crate::question::{Arrays, Question};

const SAMPLES: u64 = 120;

/// Three classes of rows that lie near three points; labels of `noisy` samples are others.
fn dataset(noisy: std::ops::Range<u64>) -> Dataset {
    let mut stream = Stream::new(3, 0);
    let values: Vec<f32> = (0..SAMPLES)
        .flat_map(|id| {
            let class = (id % 3) as f32;
            [class + stream.next_uniform() as f32, (2.0 - class) * class + 1.5 * stream.next_uniform() as f32]
        })
        .collect();
    let label = |id: u64| if noisy.contains(&id) { ((id + 1) % 3) as u32 } else { (id % 3) as u32 };
    let parts = DatasetParts {
        name: "rows".to_owned(),
        images: Images::none(SAMPLES as usize),
        labels: (0..SAMPLES).map(label).collect(),
        official_validation: 0,
        official_test: 20,
        class_names: ["a", "b", "c"].map(str::to_owned).to_vec(),
        normalisation: None,
        files: Vec::new(),
    };
    Dataset::embedded(parts, Embeddings { values: Buffer::from(values), width: 2 }).unwrap()
}

/// Picks rows by its random stream.
struct Drawing(StrategyIdentity);

impl Drawing {
    fn called(id: &str) -> Box<dyn Strategy> {
        let [id, package, version] = [id, "p", "1.0.0"].map(str::to_owned);
        Box::new(Self(StrategyIdentity { id, package, version, kind: StrategyKind::Wasm, digest: String::new() }))
    }
}

impl Strategy for Drawing {
    fn identity(&self) -> &StrategyIdentity {
        &self.0
    }

    fn needs(&self) -> &[Need] {
        &[]
    }

    fn capabilities(&self) -> &[Capability] {
        &[]
    }

    fn query(&mut self, query: &Query<'_>) -> Result<Answer, QueryError> {
        let stream = query.seeds.strategy(&self.0.id).stream("pick", query.round);
        let mut rows: Vec<u32> = (0..query.arrays.ids().len() as u32).collect();
        rows.sort_by_key(|&row| stream.item_bits(query.arrays.ids()[row as usize], 0));
        rows.truncate(query.wanted());
        Ok(Answer { selection: Selection { rows, ..Selection::default() }, ..Answer::default() })
    }
}

/// What is answered, with 70 to 99 as the slice, 0 to 5 labelled, and the rest of the first 70 as the pool.
fn answer(dataset: &Dataset, proposals: usize, threads: usize, batch: usize) -> Answer {
    let embeddings = dataset.embeddings().unwrap();
    let array = Array::f32(vec![SAMPLES as usize, 2], embeddings.values.clone()).unwrap();
    let features = FixedArray::new("fixed_embeddings", &array, None, SAMPLES as usize, &[]).unwrap();
    let slice: Vec<SampleId> = (70..100).map(SampleId).collect();
    let judge = Judge::new(dataset, &slice, features).unwrap();
    let members = vec![Drawing::called("one"), Drawing::called("other")];
    let mut upper = Upper::new(members, proposals, threads, judge, String::new());
    let (pool, labelled) = ((6..70).collect::<Vec<u64>>(), (0..6).collect::<Vec<u64>>());
    let arrays = Arrays::new(pool, labelled, 3, BTreeMap::new()).unwrap();
    let question = Question::new(&arrays, batch).in_round(Round(2)).with_seeds(Seeds::new(9)).with_progress(&Silent);
    let answer = upper.answer(&question).unwrap();
    question.check(&answer.selection).unwrap();
    answer
}

fn figures(answer: &Answer) -> BTreeMap<String, f64> {
    answer.selection.diagnostics.iter().cloned().collect()
}

fn gains(figures: &BTreeMap<String, f64>) -> Vec<f64> {
    figures.iter().filter(|(name, _)| name.starts_with("upper.gain.")).map(|(_, gain)| *gain).collect()
}

#[test]
fn what_is_bought_has_the_largest_gain_and_more_proposals_never_lower_it() {
    let set = dataset(0..0);
    let mut before = f64::NEG_INFINITY;
    for proposals in [1, 2, 5, 20, 60] {
        let found = figures(&answer(&set, proposals, 1, 5));
        let gains = gains(&found);
        assert_eq!(gains.len(), proposals);
        let most = gains.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        assert_eq!(found["upper.gain"], most);
        assert_eq!(gains[found["upper.bought"] as usize], most);
        assert!(most >= before, "{proposals}: {most} after {before}");
        before = most;
    }
    let names = figures(&answer(&set, 3, 1, 5));
    assert!(names.contains_key("upper.gain.0001.other") && names.contains_key("upper.gain.0002.one"), "{names:?}");
}

#[test]
fn neither_threads_nor_labels_of_the_test_matter_and_those_of_the_slice_do() {
    let clean = answer(&dataset(0..0), 30, 1, 5);
    let of = |answer: &Answer| (answer.selection.rows.clone(), figures(answer));
    assert_eq!(of(&clean), of(&answer(&dataset(0..0), 30, 3, 5)));
    assert_eq!(of(&clean), of(&answer(&dataset(100..SAMPLES), 30, 2, 5)), "the test set begins at sample 100");
    assert_ne!(of(&clean), of(&answer(&dataset(70..100), 30, 1, 5)));
}

#[test]
fn equal_batches_are_valued_once_and_a_batch_may_be_the_pool() {
    let all = answer(&dataset(0..0), 10, 1, 1000);
    let found = figures(&all);
    assert_eq!((found["upper.batches"], found["upper.bought"], all.selection.rows.len()), (1.0, 0.0, 64));
    // From a part of 16 to 64 samples, four are drawn: seldom the same.
    assert!(figures(&answer(&dataset(0..0), 10, 1, 4))["upper.batches"] > 5.0);
}

#[test]
fn batches_are_tried_with_their_own_labels() {
    let [clean, noisy] = [0..0, 30..70].map(|noisy| figures(&answer(&dataset(noisy), 30, 1, 5)));
    assert_eq!(clean["upper.before"], noisy["upper.before"], "what is labelled and the slice are the same");
    let mean = |found| gains(found).iter().sum::<f64>() / 30.0;
    assert!(mean(&noisy) < mean(&clean), "{} with wrong labels, {} with right ones", mean(&noisy), mean(&clean));
}

#[test]
fn of_equal_accuracies_the_likelier_is_bought_and_then_the_first() {
    let worth = |accuracy, likelihood| Worth { accuracy, likelihood };
    let worths = [worth(0.5, -2.0), worth(0.7, -1.5), worth(0.7, -1.0), worth(0.7, -1.0)];
    let proposals = [0, 1, 2, 3].map(|valued| Proposal { batch: Vec::new(), valued, member: 0 });
    assert_eq!(best(&proposals, &worths), Some(2));
    assert_eq!(best(&proposals[..2], &worths), Some(1));
    assert_eq!(best(&[], &worths), None);
}
