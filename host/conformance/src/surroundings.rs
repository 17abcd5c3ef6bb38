//! What code in a process can change for everybody else in it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;

/// The parts of a process that a strategy has no business with.
#[derive(PartialEq)]
pub(crate) struct Surroundings {
    folder: Option<PathBuf>,
    environment: BTreeMap<OsString, OsString>,
    /// Where each signal goes.
    handlers: Vec<usize>,
    rounding: u32,
    files: usize,
    threads: usize,
}

impl Surroundings {
    pub fn now() -> Self {
        Self {
            folder: std::env::current_dir().ok(),
            environment: std::env::vars_os().collect(),
            handlers: (1..=64).map(handler).collect(),
            rounding: float_control(),
            files: entries("/proc/self/fd"),
            threads: entries("/proc/self/task"),
        }
    }

    /// As they are once threads that are about to end have ended.
    pub fn settled() -> Self {
        let mut now = Self::now();
        for _ in 0..50 {
            std::thread::sleep(std::time::Duration::from_millis(10));
            let later = Self::now();
            if later == now && later.threads == 1 {
                break;
            }
            now = later;
        }
        now
    }

    /// What is not as it was, in words.
    pub fn changed(&self, now: &Self) -> Option<String> {
        let signal = self.handlers.iter().zip(&now.handlers).position(|(a, b)| a != b);
        let parts = [
            (self.folder != now.folder, "the working folder".to_owned()),
            (self.environment != now.environment, "the environment".to_owned()),
            (signal.is_some(), format!("what happens at signal {}", signal.unwrap_or(0) + 1)),
            (self.rounding != now.rounding, "how the processor rounds".to_owned()),
            (self.files < now.files, format!("open files ({} before, {} now)", self.files, now.files)),
            (self.threads < now.threads, format!("threads ({} before, {} now)", self.threads, now.threads)),
        ];
        let changed: Vec<String> = parts.into_iter().filter(|(is, _)| *is).map(|(_, what)| what).collect();
        (!changed.is_empty()).then(|| changed.join(", "))
    }
}

/// Bytes that the process has in memory.
pub(crate) fn resident() -> u64 {
    let pages = fs::read_to_string("/proc/self/statm").ok();
    let pages = pages.as_deref().and_then(|text| text.split(' ').nth(1)?.parse::<u64>().ok());
    pages.unwrap_or(0) * 4096
}

fn entries(folder: &str) -> usize {
    fs::read_dir(folder).map_or(0, Iterator::count)
}

fn handler(signal: i32) -> usize {
    // SAFETY: a zeroed `sigaction` is a valid one, and with no new action the call only writes the present one to it.
    unsafe {
        let mut now: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, std::ptr::null(), &raw mut now);
        now.sa_sigaction
    }
}

/// Rounding and the treatment of the smallest numbers; 0 where the processor is another.
fn float_control() -> u32 {
    #[cfg(target_arch = "x86_64")]
    {
        let mut control = 0_u32;
        // SAFETY: the instruction writes four bytes to where it is told.
        unsafe { std::arch::asm!("stmxcsr [{}]", in(reg) &raw mut control, options(nostack)) };
        // The low six bits say what earlier arithmetic met, which is no setting.
        control & !0x3f
    }
    #[cfg(not(target_arch = "x86_64"))]
    0
}
