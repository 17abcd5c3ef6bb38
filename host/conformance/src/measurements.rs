//! Rules about time, memory and the process. They need a process of their own.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use querist_core::QueryErrorKind;
use querist_core::progress::{Cancelled, Phase, Progress};

use crate::cases::Pool;
use crate::exam::{Broken, Exam, Verdict, arrays, broken, least_params, made, question};
use crate::surroundings::{Surroundings, resident};
use crate::{Make, Rule};

/// Every rule about time, memory and the process.
pub fn measurements() -> &'static [Rule] {
    &[
        Rule { name: "growth", says: "time and memory grow with the pool as people expect", check: growth },
        Rule { name: "cancel", says: "it ends soon after the user stops it", check: cancel },
        Rule { name: "process", says: "it leaves the process as it found it", check: process },
        Rule { name: "leaks", says: "a hundred questions need no more memory than a few", check: leaks },
    ]
}

/// The longest that people should wait after Ctrl-C.
const PATIENCE: Duration = Duration::from_secs(1);

/// Pools from the smallest to the largest, each twice the one before.
const SIZES: [usize; 4] = [1000, 2000, 4000, 8000];

/// How a figure grows from one size to twice that: 1 is linear, 2 quadratic.
fn exponent(small: f64, large: f64) -> f64 {
    (large.max(1e-9) / small.max(1e-9)).log2()
}

fn growth(make: &dyn Make) -> Result<Verdict, Broken> {
    let mut strategy = made(make, &least_params(make)?)?;
    let mut before = None;
    let mut said = String::new();
    for rows in SIZES {
        let arrays = arrays(Pool { rows, ..Pool::default() }, &*strategy)?;
        let usage = question(&arrays, 50).ask(&mut *strategy, &format!("{rows} rows"))?.usage;
        if let Some((fuel, seconds, memory)) = before {
            let of_time = match (fuel, usage.fuel) {
                (Some(small), Some(large)) => format!("fuel N^{:.1}, ", exponent(small as f64, large as f64)),
                _ => String::new(),
            };
            let (of_seconds, of_memory) =
                (exponent(seconds, usage.seconds), exponent(memory as f64, usage.peak_memory as f64));
            said = format!(
                "{of_time}seconds N^{of_seconds:.1}, memory N^{of_memory:.1} from {} to {rows} rows; {:.3} s and {:.1} \
                 MiB at {rows}",
                rows / 2,
                usage.seconds,
                usage.peak_memory as f64 / f64::from(1 << 20)
            );
        }
        before = Some((usage.fuel, usage.seconds, usage.peak_memory));
        // Whoever needs long for little need not show it at every size.
        if usage.seconds > 5.0 {
            break;
        }
    }
    Ok(Verdict::Note(said))
}

/// Stops the work at the first question whether to go on.
struct StopAtOnce(AtomicBool);

impl Progress for StopAtOnce {
    fn report(&self, _: Phase, _: u64, _: u64) -> Result<(), Cancelled> {
        self.0.store(true, Ordering::Relaxed);
        Err(Cancelled)
    }
}

fn cancel(make: &dyn Make) -> Result<Verdict, Broken> {
    let mut strategy = made(make, &least_params(make)?)?;
    let arrays = arrays(Pool { rows: 4000, ..Pool::default() }, &*strategy)?;
    let progress = StopAtOnce(AtomicBool::new(false));
    let clock = Instant::now();
    let answer = strategy.answer(&question(&arrays, 50).with_progress(&progress));
    let took = clock.elapsed();
    if took > PATIENCE && progress.0.load(Ordering::Relaxed) {
        return broken!("it went on for {:.1} s after the user stopped it", took.as_secs_f64());
    }
    match answer {
        Err(error) if error.kind == QueryErrorKind::Cancelled => Ok(Verdict::Holds),
        Ok(_) if took <= PATIENCE => Ok(Verdict::Note("it was done before it could be stopped".to_owned())),
        Ok(_) => broken!("it took {:.1} s and nobody asked whether to go on", took.as_secs_f64()),
        Err(error) => broken!("stopped by the user, it ended in another error: {error}"),
    }
}

fn process(make: &dyn Make) -> Result<Verdict, Broken> {
    let params = least_params(make)?;
    let once = || {
        let mut strategy = made(make, &params)?;
        let arrays = arrays(Pool::default(), &*strategy)?;
        question(&arrays, 20).ask(&mut *strategy, "twice in a row")
    };
    // What the first question opens may stay open, such as a pool of threads.
    once()?;
    let before = Surroundings::settled();
    once()?;
    match before.changed(&Surroundings::settled()) {
        Some(what) => broken!("it changed {what}"),
        None => Ok(Verdict::Holds),
    }
}

/// More than allocators keep for later.
const LEAK: u64 = 32 << 20;

fn leaks(make: &dyn Make) -> Result<Verdict, Broken> {
    let mut strategy = made(make, &least_params(make)?)?;
    let arrays = arrays(Pool::default(), &*strategy)?;
    let mut ask = |times: usize| -> Result<(), Broken> {
        for _ in 0..times {
            question(&arrays, 5).ask(&mut *strategy, "again and again")?;
        }
        Ok(())
    };
    ask(20)?;
    let before = resident();
    ask(100)?;
    let grown = resident().saturating_sub(before);
    if grown > LEAK {
        return broken!("the process grew by {} MiB over 100 small questions", grown >> 20);
    }
    Ok(Verdict::Holds)
}
