//! Sums over columns in sixteen `f64` lanes, compiled for several instruction sets with the same result.

use std::sync::atomic::{AtomicU8, Ordering};

/// Lanes of every sum over columns; column c belongs to lane c modulo 16.
pub(crate) const LANES: usize = 16;

/// Instruction sets that kernels are compiled for, each with those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

/// The widest instruction set that may be used, as a number.
static LIMIT: AtomicU8 = AtomicU8::new(u8::MAX);

/// Forbids instruction sets above `level` (0 portable, 1 AVX2, 2 AVX-512) in this process, for tests.
pub fn limit_instructions(level: u8) {
    LIMIT.store(level, Ordering::Relaxed);
}

/// The instruction set to use now.
#[inline]
pub(crate) fn level() -> Level {
    #[cfg(target_arch = "x86_64")]
    {
        let limit = LIMIT.load(Ordering::Relaxed);
        // The detection is cached by the standard library.
        let avx512 = limit >= Level::Avx512 as u8
            && std::arch::is_x86_feature_detected!("avx512f")
            && std::arch::is_x86_feature_detected!("avx512dq")
            && std::arch::is_x86_feature_detected!("avx512vl");
        if avx512 {
            return Level::Avx512;
        }
        if limit >= Level::Avx2 as u8 && std::arch::is_x86_feature_detected!("avx2") {
            return Level::Avx2;
        }
    }
    Level::Portable
}

/// Compiles one body for every instruction set and picks at run time. No set allows fusing, so the bits agree.
macro_rules! for_each_cpu {
    ($(#[$doc:meta])* $vis:vis fn $name:ident($($arg:ident: $type:ty),* $(,)?) $(-> $result:ty)? $body:block) => {
        $(#[$doc])*
        $vis fn $name($($arg: $type),*) $(-> $result)? {
            #[inline(always)]
            fn portable($($arg: $type),*) $(-> $result)? $body

            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512dq,avx512vl")]
                fn avx512($($arg: $type),*) $(-> $result)? {
                    portable($($arg),*)
                }
                #[target_feature(enable = "avx2")]
                fn avx2($($arg: $type),*) $(-> $result)? {
                    portable($($arg),*)
                }
                match $crate::simd::level() {
                    // SAFETY: `level` saw these features on this CPU.
                    $crate::simd::Level::Avx512 => return unsafe { avx512($($arg),*) },
                    // SAFETY: as above.
                    $crate::simd::Level::Avx2 => return unsafe { avx2($($arg),*) },
                    $crate::simd::Level::Portable => {}
                }
            }
            portable($($arg),*)
        }
    };
}
pub(crate) use for_each_cpu;

/// Joins the lanes: halves are added until one is left.
#[inline(always)]
pub(crate) fn join(lanes: [f64; LANES]) -> f64 {
    let eight: [f64; 8] = std::array::from_fn(|i| lanes[i] + lanes[i + 8]);
    let four: [f64; 4] = std::array::from_fn(|i| eight[i] + eight[i + 4]);
    (four[0] + four[2]) + (four[1] + four[3])
}

/// Sums `f` over pairs of columns, two sums at a time.
#[inline(always)]
fn sum_pairs<const N: usize>(x: &[f32], y: &[f32], f: impl Fn(f64, f64) -> [f64; N]) -> [f64; N] {
    let mut lanes = [[0.0f64; LANES]; N];
    let (x_blocks, x_rest) = x.as_chunks::<LANES>();
    let (y_blocks, y_rest) = y.as_chunks::<LANES>();
    for (a, b) in x_blocks.iter().zip(y_blocks) {
        for lane in 0..LANES {
            let terms = f(f64::from(a[lane]), f64::from(b[lane]));
            for n in 0..N {
                lanes[n][lane] += terms[n];
            }
        }
    }
    for (lane, (&a, &b)) in x_rest.iter().zip(y_rest).enumerate() {
        let terms = f(f64::from(a), f64::from(b));
        for n in 0..N {
            lanes[n][lane] += terms[n];
        }
    }
    lanes.map(join)
}

for_each_cpu! {
    /// Σ (x - y)².
    pub(crate) fn sq_distance(x: &[f32], y: &[f32]) -> f64 {
        sum_pairs(x, y, |a, b| [(a - b) * (a - b)])[0]
    }
}

/// Lanes of sums in single precision, which are for bounds.
pub(crate) const ROUGH_LANES: usize = 64;

/// Joins them as [`join`] does.
#[inline(always)]
pub(crate) fn join_rough(mut lanes: [f32; ROUGH_LANES]) -> f32 {
    let mut width = ROUGH_LANES;
    while width > 1 {
        width /= 2;
        for lane in 0..width {
            lanes[lane] += lanes[lane + width];
        }
    }
    lanes[0]
}

for_each_cpu! {
    /// Σ (x - y)² in single precision, for bounds.
    pub(crate) fn rough_sq_distance(x: &[f32], y: &[f32]) -> f32 {
        let mut lanes = [0.0f32; ROUGH_LANES];
        let (x_blocks, x_rest) = x.as_chunks::<ROUGH_LANES>();
        let (y_blocks, y_rest) = y.as_chunks::<ROUGH_LANES>();
        for (a, b) in x_blocks.iter().zip(y_blocks) {
            for lane in 0..ROUGH_LANES {
                lanes[lane] += (a[lane] - b[lane]) * (a[lane] - b[lane]);
            }
        }
        for (lane, (&a, &b)) in x_rest.iter().zip(y_rest).enumerate() {
            lanes[lane] += (a - b) * (a - b);
        }
        join_rough(lanes)
    }
}

for_each_cpu! {
    /// Σ x y.
    pub(crate) fn dot(x: &[f32], y: &[f32]) -> f64 {
        sum_pairs(x, y, |a, b| [a * b])[0]
    }
}

for_each_cpu! {
    /// Σ (x - y)² and Σ x (x - y).
    pub(crate) fn difference_and_left(x: &[f32], y: &[f32]) -> [f64; 2] {
        sum_pairs(x, y, |a, b| [(a - b) * (a - b), a * (a - b)])
    }
}

for_each_cpu! {
    /// Σ (x - y)² and Σ (x - y) y.
    pub(crate) fn difference_and_right(x: &[f32], y: &[f32]) -> [f64; 2] {
        sum_pairs(x, y, |a, b| [(a - b) * (a - b), (a - b) * b])
    }
}

for_each_cpu! {
    /// Adds `weight` times a row to sums over rows.
    pub(crate) fn add_scaled(sums: &mut [f64], row: &[f32], weight: f64) {
        for (sum, &value) in sums.iter_mut().zip(row) {
            *sum += weight * f64::from(value);
        }
    }
}

for_each_cpu! {
    /// Each value over `divisor`, rounded to `f32`.
    pub(crate) fn divide(row: &mut [f32], divisor: f64) {
        for value in row {
            *value = (f64::from(*value) / divisor) as f32;
        }
    }
}
