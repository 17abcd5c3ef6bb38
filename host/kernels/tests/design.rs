//! The design engine against dense matrices.

mod common;

use common::*;
use querist_kernels::Session;
use querist_protocol::{DesignOptions, FaultCode, Handle, HostCalls};

/// A small problem with its matrices written out.
struct Dense {
    order: usize,
    /// X of each pool row, `[order * rank]`, weight included.
    blocks: Vec<Vec<f64>>,
    start: Vec<f64>,
    target: Vec<f64>,
    rank: usize,
}

fn block(factors: &[f32], embedding: &[f32], rank: usize, weight: f64) -> Vec<f64> {
    let mut x = Vec::new();
    for r in factors.chunks(rank) {
        for h in embedding {
            x.extend(r.iter().map(|r| weight.sqrt() * f64::from(*r) * f64::from(*h)));
        }
    }
    x
}

fn add_square(matrix: &mut [f64], x: &[f64], rank: usize) {
    let order = x.len() / rank;
    for i in 0..order {
        for j in 0..order {
            matrix[i * order + j] += (0..rank).map(|a| x[i * rank + a] * x[j * rank + a]).sum::<f64>();
        }
    }
}

/// Solves by elimination with pivots, the textbook way.
fn inverse(matrix: &[f64], n: usize) -> Vec<f64> {
    let mut a: Vec<Vec<f64>> = (0..n)
        .map(|i| (0..2 * n).map(|j| if j < n { matrix[i * n + j] } else { f64::from(u8::from(j - n == i)) }).collect())
        .collect();
    for k in 0..n {
        let pivot = (k..n).max_by(|&i, &j| a[i][k].abs().total_cmp(&a[j][k].abs())).unwrap();
        a.swap(k, pivot);
        let scale = a[k][k];
        a[k].iter_mut().for_each(|value| *value /= scale);
        let line = a[k].clone();
        for (i, other) in a.iter_mut().enumerate().filter(|(i, _)| *i != k) {
            assert_ne!(i, k);
            let factor = other[k];
            other.iter_mut().zip(&line).for_each(|(value, pivot)| *value -= factor * pivot);
        }
    }
    a.iter().flat_map(|line| line[n..].to_vec()).collect()
}

impl Dense {
    fn new(pool: (&Data, &Data), labelled: (&Data, &Data), options: DesignOptions) -> Self {
        let rank = options.rank as usize;
        let order = pool.0.columns / rank * pool.1.columns;
        let of = |data: (&Data, &Data), weight: f64| -> Vec<Vec<f64>> {
            (0..data.0.rows).map(|row| block(data.0.row(row), data.1.row(row), rank, weight)).collect()
        };
        let mut start = vec![0.0; order * order];
        for i in 0..order {
            start[i * order + i] = options.ridge;
        }
        of(labelled, options.labelled_weight).iter().for_each(|x| add_square(&mut start, x, rank));
        let share = 1.0 / (pool.0.rows + labelled.0.rows) as f64;
        let mut target = vec![0.0; order * order];
        of(pool, share).iter().chain(&of(labelled, share)).for_each(|x| add_square(&mut target, x, rank));
        Self { order, blocks: of(pool, options.added_weight), start, target, rank }
    }

    /// tr(M⁻¹ F) with these rows added.
    fn cost(&self, rows: &[u32]) -> f64 {
        let mut m = self.start.clone();
        rows.iter().for_each(|&row| add_square(&mut m, &self.blocks[row as usize], self.rank));
        inverse(&m, self.order).iter().zip(&self.target).map(|(a, b)| a * b).sum()
    }
}

fn near(found: f64, expected: f64, within: f64, context: &str) {
    let slack = within * expected.abs().max(1e-3);
    assert!((found - expected).abs() < slack, "{context}: {found:e}, expected {expected:e}");
}

fn engine(s: &Session, pool: (&Data, &Data), labelled: (&Data, &Data), options: DesignOptions) -> Handle {
    let pool = (pool.0.handle(s), pool.1.handle(s));
    s.design(pool.0, pool.1, labelled.0.handle(s), labelled.1.handle(s), options).unwrap()
}

#[test]
fn every_step_is_the_best_of_brute_force() {
    for (blocks, rank, width, labelled, threads) in
        [(4, 3, 3, 5, 1), (1, 1, 17, 3, 2), (3, 3, 5, 0, 2), (5, 2, 21, 9, 3), (2, 1, 67, 4, 2), (1, 1, 130, 4, 2)]
    {
        let pool = (data(Kind::Random, 30, blocks * rank, 1), data(Kind::Random, 30, width, 2));
        let known = (data(Kind::Random, labelled, blocks * rank, 3), data(Kind::Random, labelled, width, 4));
        let options = DesignOptions { rank: rank as u32, ridge: 0.3, labelled_weight: 0.2, added_weight: 0.7 };
        let dense = Dense::new((&pool.0, &pool.1), (&known.0, &known.1), options);
        let s = session(threads);
        let design = engine(&s, (&pool.0, &pool.1), (&known.0, &known.1), options);
        let mut added: Vec<u32> = Vec::new();
        for step in 0..12 {
            let (row, gain) = s.design_best(design).unwrap().unwrap();
            let before = dense.cost(&added);
            let others = (0..30).filter(|row| !added.contains(row));
            let gains: Vec<(u32, f64)> =
                others.map(|row| (row, before - dense.cost(&[added.as_slice(), &[row]].concat()))).collect();
            let best = gains.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1)).unwrap();
            near(gain, best.1, 1e-9, &format!("gain of step {step}, {blocks} blocks"));
            assert_eq!(row, best.0);
            s.design_add(design, row).unwrap();
            added.push(row);
        }
        for step in 0..8 {
            let (row, loss) = s.design_least(design).unwrap().unwrap();
            let before = dense.cost(&added);
            let without = |gone: u32| added.iter().copied().filter(|&row| row != gone).collect::<Vec<_>>();
            let losses = added.iter().map(|&row| (row, dense.cost(&without(row)) - before));
            let least = losses.min_by(|a, b| a.1.total_cmp(&b.1)).unwrap();
            near(loss, least.1, 1e-9, &format!("loss of step {step}, {blocks} blocks"));
            assert_eq!(row, least.0);
            s.design_remove(design, row).unwrap();
            added.retain(|&added| added != row);
        }
    }
}

#[test]
fn hundreds_of_changes_do_not_drift() {
    // The first changes lower everything ten thousandfold; what they round off stays until all is computed afresh.
    const DRIFT: f64 = 1e-9;
    let pool = (data(Kind::Random, 320, 2, 5), data(Kind::Random, 320, 4, 6));
    let none = (data(Kind::Random, 0, 2, 7), data(Kind::Random, 0, 4, 8));
    let options = DesignOptions { rank: 1, ridge: 0.01, labelled_weight: 0.0, added_weight: 1.0 };
    let dense = Dense::new((&pool.0, &pool.1), (&none.0, &none.1), options);
    let s = session(1);
    let design = engine(&s, (&pool.0, &pool.1), (&none.0, &none.1), options);
    let mut added: Vec<u32> = Vec::new();
    for _ in 0..320 {
        let (row, gain) = s.design_best(design).unwrap().unwrap();
        let before = dense.cost(&added);
        added.push(row);
        near(gain, before - dense.cost(&added), DRIFT, "gain");
        s.design_add(design, row).unwrap();
    }
    assert_eq!(s.design_best(design).unwrap(), None);
    while added.len() > 1 {
        let (row, loss) = s.design_least(design).unwrap().unwrap();
        let before = dense.cost(&added);
        added.retain(|&added| added != row);
        near(loss, dense.cost(&added) - before, DRIFT, "loss");
        s.design_remove(design, row).unwrap();
    }
}

#[test]
fn equal_rows_give_the_lowest_and_wrong_calls_are_refused() {
    let s = session(2);
    let pool = (data(Kind::Constant, 9, 4, 1), data(Kind::Constant, 9, 3, 1));
    let options = DesignOptions { rank: 2, ridge: 1.0, labelled_weight: 1.0, added_weight: 1.0 };
    let design = engine(&s, (&pool.0, &pool.1), (&pool.0, &pool.1), options);
    for expected in 0..3 {
        assert_eq!(s.design_best(design).unwrap().unwrap().0, expected);
        s.design_add(design, expected).unwrap();
    }
    assert_eq!(s.design_least(design).unwrap().unwrap().0, 0);
    let code = |result: Result<(), querist_protocol::Fault>| result.unwrap_err().code;
    assert_eq!(code(s.design_add(design, 1)), FaultCode::BadArgument);
    assert_eq!(code(s.design_add(design, 9)), FaultCode::BadIndex);
    assert_eq!(code(s.design_remove(design, 5)), FaultCode::BadIndex);
    s.design_remove(design, 0).unwrap();
    assert_eq!(code(s.design_add(design, 5)), FaultCode::BadArgument);
    assert_eq!(s.design_best(design).unwrap_err().code, FaultCode::BadArgument);
    let (a, b) = (pool.0.handle(&s), pool.1.handle(&s));
    let refused = |options| s.design(a, b, a, b, options).unwrap_err().code;
    assert_eq!(refused(DesignOptions { rank: 3, ..options }), FaultCode::BadArgument);
    assert_eq!(refused(DesignOptions { rank: 0, ..options }), FaultCode::BadArgument);
    assert_eq!(refused(DesignOptions { rank: 5000, ..options }), FaultCode::BadArgument);
    assert_eq!(refused(DesignOptions { ridge: 0.0, ..options }), FaultCode::BadArgument);
    assert_eq!(refused(DesignOptions { added_weight: f64::NAN, ..options }), FaultCode::NonFinite);
    let empty = s.matrix(9, 0, &[]).unwrap();
    assert_eq!(s.design(a, empty, a, empty, options).unwrap_err().code, FaultCode::BadArgument);
    let short = data(Kind::Random, 8, 3, 1).handle(&s);
    assert_eq!(s.design(a, short, a, b, options).unwrap_err().code, FaultCode::BadShape);
    let huge = data(Kind::Huge, 9, 3, 1).handle(&s);
    let tiny_ridge = DesignOptions { ridge: 1e-300, ..options };
    let built = s.design(a, huge, a, huge, tiny_ridge).and_then(|design| s.design_best(design));
    assert!(built.is_err() || built.is_ok_and(|best| best.is_some_and(|(_, gain)| gain.is_finite())));
    // A problem that passes the limit on memory is refused before anything is computed.
    let wide = data(Kind::Random, 2, 20_000, 1).handle(&s);
    let thin = data(Kind::Random, 2, 2, 1).handle(&s);
    assert_eq!(s.design(thin, wide, thin, wide, options).unwrap_err().code, FaultCode::Quota);
}
