//! The elementary functions that scores are made of, with the same bits in every build.
//!
//! Only additions, multiplications, divisions and bit operations are used, none of them fused, so a guest, a native
//! plugin and the host's vectorised kernels agree to the last bit. The functions have no data-dependent branches, so
//! loops over them vectorise. Errors stay within two units in the last place.

const LN2_HIGH: f64 = 6.931_471_803_691_238e-1;
const LN2_LOW: f64 = 1.908_214_929_270_587_7e-10;

/// Adding and subtracting this rounds to the nearest whole number, ties to even.
const ROUND_TO_WHOLE: f64 = 6_755_399_441_055_744.0;

/// e to the power of `x`; 0 below about -745, infinite above about 709.8.
#[inline(always)]
pub fn exp(x: f64) -> f64 {
    let [power] = exp_each([x]);
    power
}

/// [`exp`] of each number. All go one step together, so that none waits for the step before.
#[inline(always)]
pub fn exp_each<const N: usize>(x: [f64; N]) -> [f64; N] {
    let (mut reduced, mut wholes) = ([0.0; N], [0i64; N]);
    for i in 0..N {
        // Comparisons written so that NaN stays NaN.
        let x = if x[i] > 710.0 { 710.0 } else { x[i] };
        let x = if x < -746.0 { -746.0 } else { x };
        let shifted = x * std::f64::consts::LOG2_E + ROUND_TO_WHOLE;
        let whole = shifted - ROUND_TO_WHOLE;
        reduced[i] = (x - whole * LN2_HIGH) - whole * LN2_LOW;
        // An overflow check, which never fires, would keep loops from vectorising.
        wholes[i] = (shifted.to_bits() as i64).wrapping_sub(ROUND_TO_WHOLE.to_bits() as i64);
    }
    let mut powers = expm1_over_each(reduced);
    for i in 0..N {
        // Two halves keep each factor a normal number down to the smallest subnormal result.
        let half = wholes[i] >> 1;
        let of_reduced = 1.0 + reduced[i] * powers[i];
        powers[i] = of_reduced * power_of_two(half) * power_of_two(wholes[i].wrapping_sub(half));
    }
    powers
}

/// (e^r - 1) / r for each |r| <= ln(2)/2, by Taylor's polynomial: the first term of e^r that is dropped is below 5e-18.
#[inline(always)]
fn expm1_over_each<const N: usize>(r: [f64; N]) -> [f64; N] {
    const C: [f64; 13] = [
        1.0 / 6_227_020_800.0,
        1.0 / 479_001_600.0,
        1.0 / 39_916_800.0,
        1.0 / 3_628_800.0,
        1.0 / 362_880.0,
        1.0 / 40_320.0,
        1.0 / 5_040.0,
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        1.0 / 2.0,
        1.0,
    ];
    let mut sums = [C[0]; N];
    for &c in &C[1..] {
        for (sum, r) in sums.iter_mut().zip(&r) {
            *sum = *sum * r + c;
        }
    }
    sums
}

#[inline(always)]
fn power_of_two(n: i64) -> f64 {
    f64::from_bits((n.wrapping_add(1023) as u64) << 52)
}

/// e^x - 1 without the cancellation near 0.
#[inline(always)]
pub fn expm1(x: f64) -> f64 {
    let [over] = expm1_over_each([x]);
    let near = x * over;
    let far = exp(x) - 1.0;
    if x.abs() < 0.34 { near } else { far }
}

/// Natural logarithm; -inf at 0, NaN below.
#[inline(always)]
pub fn ln(x: f64) -> f64 {
    const C: [f64; 7] = [
        6.666_666_666_666_735e-1,
        3.999_999_999_940_942e-1,
        2.857_142_874_366_239e-1,
        2.222_219_843_214_978_4e-1,
        1.818_357_216_161_805e-1,
        1.531_383_769_920_937_3e-1,
        1.479_819_860_511_658_6e-1,
    ];
    let subnormal = x < f64::MIN_POSITIVE;
    let scaled = if subnormal { x * 18_014_398_509_481_984.0 } else { x };
    // Shift the exponent so that the mantissa lies in [sqrt(1/2), sqrt(2)).
    let bits = scaled.to_bits().wrapping_sub(0x3FE6_A09E_667F_3BCD);
    let exponent = (bits as i64) >> 52;
    let m = f64::from_bits((bits & 0x000F_FFFF_FFFF_FFFF).wrapping_add(0x3FE6_A09E_667F_3BCD));
    let k = small_int_to_f64(exponent) - if subnormal { 54.0 } else { 0.0 };
    let f = m - 1.0;
    let s = f / (2.0 + f);
    let z = s * s;
    let mut tail = C[6];
    for &c in C[..6].iter().rev() {
        tail = tail * z + c;
    }
    let half_square = 0.5 * f * f;
    let finite = k * LN2_HIGH - ((half_square - (s * (half_square + tail * z) + k * LN2_LOW)) - f);
    let result = if x == 0.0 { f64::NEG_INFINITY } else { finite };
    let result = if x == f64::INFINITY { x } else { result };
    if x < 0.0 || x.is_nan() { f64::NAN } else { result }
}

/// A conversion that vectorises everywhere, for |n| < 2^51.
#[inline(always)]
fn small_int_to_f64(n: i64) -> f64 {
    f64::from_bits((ROUND_TO_WHOLE.to_bits() as i64).wrapping_add(n) as u64) - ROUND_TO_WHOLE
}

/// ln(1 + x) without the cancellation near 0, for x > -1.
#[inline(always)]
pub fn ln_1p(x: f64) -> f64 {
    let u = 1.0 + x;
    // What rounding 1 + x lost, as a first-order correction.
    let corrected = ln(u) + (x - (u - 1.0)) / u;
    let result = if u == f64::INFINITY { u } else { corrected };
    if u == 1.0 { x } else { result }
}

/// Index of the largest value; the lowest index among equals.
///
/// # Panics
/// If `values` is empty.
pub fn argmax<T: PartialOrd>(values: &[T]) -> usize {
    assert!(!values.is_empty(), "no largest value of none");
    (1..values.len()).fold(0, |best, i| if values[i] > values[best] { i } else { best })
}

/// Index of the smallest value; the lowest index among equals.
///
/// # Panics
/// If `values` is empty.
pub fn argmin<T: PartialOrd>(values: &[T]) -> usize {
    assert!(!values.is_empty(), "no smallest value of none");
    (1..values.len()).fold(0, |best, i| if values[i] < values[best] { i } else { best })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ulps(a: f64, b: f64) -> u64 {
        if a == b { 0 } else { a.to_bits().abs_diff(b.to_bits()) }
    }

    fn grid(from: f64, to: f64, steps: u32) -> impl Iterator<Item = f64> {
        (0..=steps).map(move |i| from + (to - from) * f64::from(i) / f64::from(steps))
    }

    #[test]
    fn exp_is_within_two_ulps() {
        for x in grid(-708.0, 709.7, 200_003).chain(grid(-1.0, 1.0, 20_001)) {
            assert!(ulps(exp(x), x.exp()) <= 2, "exp({x}): {} {}", exp(x), x.exp());
        }
        assert_eq!(exp(0.0), 1.0);
        assert_eq!((exp(-800.0), exp(720.0)), (0.0, f64::INFINITY));
        assert!(exp(-744.0) > 0.0 && exp(f64::NAN).is_nan());
    }

    #[test]
    fn each_of_several_has_the_bits_of_one() {
        let numbers: Vec<f64> = grid(-750.0, 720.0, 64 * 1000 - 1).collect();
        for some in numbers.chunks_exact(64) {
            let some: [f64; 64] = some.try_into().unwrap();
            assert_eq!(exp_each(some).map(f64::to_bits), some.map(|x| exp(x).to_bits()));
        }
    }

    #[test]
    fn ln_is_within_two_ulps() {
        for x in grid(1e-9, 3.0, 200_003).chain(grid(0.9999, 1.0001, 10_001)).chain((-300..300).map(|e| 10f64.powi(e)))
        {
            assert!(ulps(ln(x), x.ln()) <= 2, "ln({x}): {} {}", ln(x), x.ln());
        }
        assert_eq!((ln(1.0), ln(0.0), ln(f64::INFINITY)), (0.0, f64::NEG_INFINITY, f64::INFINITY));
        assert!(ln(-1.0).is_nan() && ln(f64::NAN).is_nan());
        assert!(ulps(ln(5e-324), 5e-324f64.ln()) <= 2);
    }

    #[test]
    fn the_forms_near_zero_do_not_cancel() {
        for x in grid(-0.9, 3.0, 100_003).chain((1..300).map(|e| 10f64.powi(-e))) {
            assert!(ulps(ln_1p(x), x.ln_1p()) <= 4, "ln_1p({x})");
            assert!(ulps(expm1(x), x.exp_m1()) <= 4, "expm1({x}): {} {}", expm1(x), x.exp_m1());
        }
    }
}
