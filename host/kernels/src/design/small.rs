//! Small matrices of several rows at once, one lane a row.

use crate::simd::for_each_cpu;

/// Rows whose small matrices are handled side by side.
pub(super) const AT_ONCE: usize = 8;

/// The small matrices of some rows, entry by entry: one lane a row.
pub(super) struct SmallMatrices {
    /// Factors, `[blocks, rank]`.
    r: Vec<[f64; AT_ONCE]>,
    /// h times U and h times W, `[2, blocks, rank]`.
    y: Vec<[f64; AT_ONCE]>,
    /// G = Xᵀ U, V = Xᵀ W, G K and G K T_x K, then S and T, all `[rank, rank]`.
    g: Vec<[f64; AT_ONCE]>,
    v: Vec<[f64; AT_ONCE]>,
    gk: Vec<[f64; AT_ONCE]>,
    gktk: Vec<[f64; AT_ONCE]>,
    s: Vec<[f64; AT_ONCE]>,
    t: Vec<[f64; AT_ONCE]>,
}

impl SmallMatrices {
    pub(super) fn new(blocks: usize, rank: usize) -> Self {
        let of = |size: usize| vec![[0.0; AT_ONCE]; size];
        let (long, sq) = (blocks * rank, rank * rank);
        Self { r: of(long), y: of(2 * long), g: of(sq), v: of(sq), gk: of(sq), gktk: of(sq), s: of(sq), t: of(sq) }
    }

    pub(super) fn load(&mut self, lane: usize, r: &[f32], y: &[f64], (s, t): (&[f64], &[f64])) {
        self.r.iter_mut().zip(r).for_each(|(lanes, &r)| lanes[lane] = f64::from(r));
        self.y.iter_mut().zip(y).for_each(|(lanes, &y)| lanes[lane] = y);
        self.load_squares(lane, s, t);
    }

    pub(super) fn load_squares(&mut self, lane: usize, s: &[f64], t: &[f64]) {
        self.s.iter_mut().zip(s).for_each(|(lanes, &s)| lanes[lane] = s);
        self.t.iter_mut().zip(t).for_each(|(lanes, &t)| lanes[lane] = t);
    }

    pub(super) fn store(&self, lane: usize, s: &mut [f64], t: &mut [f64]) {
        s.iter_mut().zip(&self.s).for_each(|(s, lanes)| *s = lanes[lane]);
        t.iter_mut().zip(&self.t).for_each(|(t, lanes)| *t = lanes[lane]);
    }
}

/// `sums += x * y`, lane by lane.
#[inline(always)]
fn add_lanes(sums: &mut [f64; AT_ONCE], x: &[f64; AT_ONCE], y: &[f64; AT_ONCE]) {
    for lane in 0..AT_ONCE {
        sums[lane] += x[lane] * y[lane];
    }
}

for_each_cpu! {
    /// S -= G K Gᵀ and T -= G K Vᵀ + V K Gᵀ - G K T_x K Gᵀ for each of the rows.
    pub(super) fn move_squares(small: &mut SmallMatrices, rank: usize, scale: f64, k: &[f64], ktk: &[f64]) {
        let SmallMatrices { r, y, g, v, gk, gktk, s, t } = small;
        let (yu, yw) = y.split_at(r.len());
        for (out, y) in [(&mut *g, yu), (&mut *v, yw)] {
            for a in 0..rank {
                for b in 0..rank {
                    let mut sums = [0.0; AT_ONCE];
                    for (r, y) in r.chunks_exact(rank).zip(y.chunks_exact(rank)) {
                        add_lanes(&mut sums, &r[a], &y[b]);
                    }
                    out[a * rank + b] = sums.map(|sum| scale * sum);
                }
            }
        }
        for (out, k) in [(&mut *gk, k), (&mut *gktk, ktk)] {
            for a in 0..rank {
                for b in 0..rank {
                    let mut sums = [0.0; AT_ONCE];
                    for c in 0..rank {
                        add_lanes(&mut sums, &g[a * rank + c], &[k[c * rank + b]; AT_ONCE]);
                    }
                    out[a * rank + b] = sums;
                }
            }
        }
        for a in 0..rank {
            for b in 0..=a {
                let (mut ds, mut up, mut down) = ([0.0; AT_ONCE], [0.0; AT_ONCE], [0.0; AT_ONCE]);
                for c in 0..rank {
                    let (ac, bc) = (a * rank + c, b * rank + c);
                    add_lanes(&mut ds, &gk[ac], &g[bc]);
                    add_lanes(&mut up, &gktk[ac], &g[bc]);
                    add_lanes(&mut down, &gk[ac], &v[bc]);
                    add_lanes(&mut down, &gk[bc], &v[ac]);
                }
                for lane in 0..AT_ONCE {
                    s[a * rank + b][lane] -= ds[lane];
                    t[a * rank + b][lane] += up[lane] - down[lane];
                }
                // Both stay symmetric.
                s[b * rank + a] = s[a * rank + b];
                t[b * rank + a] = t[a * rank + b];
            }
        }
    }
}

for_each_cpu! {
    /// tr((I + S)⁻¹ T) of the rows; S is overwritten by the inverse (Gauss and Jordan).
    pub(super) fn gains(small: &mut SmallMatrices, rank: usize) -> [f64; AT_ONCE] {
        let SmallMatrices { s, t, .. } = small;
        for i in 0..rank {
            s[i * rank + i] = s[i * rank + i].map(|s| s + 1.0);
        }
        for k in 0..rank {
            let inverse = s[k * rank + k].map(|pivot| 1.0 / pivot);
            for j in (0..rank).filter(|&j| j != k) {
                for lane in 0..AT_ONCE {
                    s[k * rank + j][lane] *= inverse[lane];
                }
            }
            s[k * rank + k] = inverse;
            for i in (0..rank).filter(|&i| i != k) {
                let factor = s[i * rank + k].map(|s| -s);
                for j in (0..rank).filter(|&j| j != k) {
                    let line = s[k * rank + j];
                    add_lanes(&mut s[i * rank + j], &factor, &line);
                }
                for lane in 0..AT_ONCE {
                    s[i * rank + k][lane] = factor[lane] * inverse[lane];
                }
            }
        }
        let mut sums = [0.0; AT_ONCE];
        for (s, t) in s.iter().zip(t.iter()) {
            add_lanes(&mut sums, s, t);
        }
        sums
    }
}
