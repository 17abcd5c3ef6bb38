//! How much memory may be asked for: never more than there is, however it is claimed.

use std::path::Path;
use std::sync::{Condvar, Mutex, PoisonError};

use querist_files::Links;

use crate::error::DataError;

/// Requests below this are made without looking at what is there.
const SMALL: u64 = 64 << 20;

/// An empty vector with room for `count` values, or an error where there is no such memory.
pub(crate) fn reserve<T>(count: u64, what: &str) -> Result<Vec<T>, DataError> {
    let bytes = count.saturating_mul(size_of::<T>() as u64);
    let memory = || DataError::memory(what, bytes);
    if bytes > SMALL && available().is_some_and(|there| bytes > there) {
        return Err(memory());
    }
    let mut values = Vec::new();
    values.try_reserve_exact(usize::try_from(count).map_err(|_| memory())?).map_err(|_| memory())?;
    Ok(values)
}

/// Bytes of memory that this process can still have, where the system says: on the machine, and in its control group.
///
/// Without it the system grants what is not there and kills the process when it uses it.
pub(crate) fn available() -> Option<u64> {
    let text = |path: &str| querist_files::read_text(Path::new(path), Links::Follow, 1 << 16).ok();
    let machine = free_of(&text("/proc/meminfo")?)?;
    let number = |path: &str| text(path)?.trim().parse::<u64>().ok();
    let limit = number("/sys/fs/cgroup/memory.max").zip(number("/sys/fs/cgroup/memory.current"));
    Some(limit.map_or(machine, |(most, used)| machine.min(most.saturating_sub(used))))
}

fn free_of(meminfo: &str) -> Option<u64> {
    let kib = |key: &str| meminfo.lines().find_map(|line| line.strip_prefix(key))?.trim().strip_suffix(" kB");
    let number = |key: &str| kib(key)?.trim().parse::<u64>().ok();
    Some((number("MemAvailable:")? + number("SwapFree:").unwrap_or(0)).saturating_mul(1024))
}

/// Memory that is kept while a folder or an archive is read, counted as it grows.
pub(crate) struct Kept {
    most: u64,
    used: Mutex<u64>,
}

impl Kept {
    /// Nothing kept yet, and the memory of this machine to keep it in.
    pub fn new() -> Self {
        Self::within(available().unwrap_or(u64::MAX))
    }

    fn within(most: u64) -> Self {
        Self { most, used: Mutex::new(0) }
    }

    /// Counts `bytes` more.
    pub fn add(&self, bytes: u64, what: &str) -> Result<(), DataError> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        *used = used.saturating_add(bytes);
        if *used > self.most { Err(DataError::memory(what, *used)) } else { Ok(()) }
    }
}

/// Memory that workers share for a while; whoever finds too little waits.
pub(crate) struct Shared {
    free: Mutex<u64>,
    most: u64,
    freed: Condvar,
}

impl Shared {
    /// `most` bytes to share.
    pub const fn new(most: u64) -> Self {
        Self { free: Mutex::new(most), most, freed: Condvar::new() }
    }

    /// Takes `bytes`, or everything where that is less, until the loan is dropped.
    pub fn lend(&self, bytes: u64) -> Loan<'_> {
        let bytes = bytes.min(self.most);
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free = self.freed.wait_while(free, |free| *free < bytes).unwrap_or_else(PoisonError::into_inner);
        *free -= bytes;
        Loan { from: self, bytes }
    }
}

/// Memory in use; given back when dropped.
pub(crate) struct Loan<'a> {
    from: &'a Shared,
    bytes: u64,
}

impl Drop for Loan<'_> {
    fn drop(&mut self) {
        *self.from.free.lock().unwrap_or_else(PoisonError::into_inner) += self.bytes;
        self.from.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn what_is_not_there_is_not_asked_for() {
        let meminfo = "MemTotal:       65855924 kB\nMemAvailable:     1000 kB\nSwapFree:           24 kB\n";
        assert_eq!(free_of(meminfo), Some(1024 * 1024));
        assert_eq!(free_of("MemTotal: 1 kB"), None);
        let text = reserve::<u64>(1 << 50, "a file").unwrap_err().to_string();
        assert_eq!(text, "a file needs 9007199254740992 bytes of memory, which are not there");
        let kept = Kept::within(100);
        kept.add(60, "pictures").unwrap();
        assert!(kept.add(41, "pictures").unwrap_err().to_string().starts_with("pictures needs 101 bytes"));
    }

    #[test]
    fn workers_never_hold_more_than_is_shared() {
        let shared = Shared::new(10);
        let (held, most) = (AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for bytes in [3, 4, 5, 6, 99] {
                let (shared, held, most) = (&shared, &held, &most);
                scope.spawn(move || {
                    for _ in 0..200 {
                        let loan = shared.lend(bytes);
                        most.fetch_max(held.fetch_add(loan.bytes, Ordering::SeqCst) + loan.bytes, Ordering::SeqCst);
                        held.fetch_sub(loan.bytes, Ordering::SeqCst);
                    }
                });
            }
        });
        assert_eq!(*shared.free.lock().unwrap(), 10);
        assert!(most.into_inner() <= 10);
    }
}
