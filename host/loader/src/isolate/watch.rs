//! What the host sees of a worker from outside.
//!
//! Limits on address space and system calls bound what a worker can take. What they leave, many threads and shared
//! pages, is looked at here; the figures of a record come from here, too, not from the worker. No control group is
//! needed, which a user could not have everywhere: a worker cannot start processes, and every page that it can make
//! belongs to its own address space, so one number of one process is all that there is to look at.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Bytes of `/proc/PID/status` that are read.
const STATUS: usize = 8 << 10;
/// Memory that a worker has for itself: the program's own, tables, what kernels work with.
const BASE_MEMORY: u64 = 256 << 20;
/// The same for each thread.
const THREAD_MEMORY: u64 = 32 << 20;
/// Threads that a worker has beside one a core and those of the kernels.
const SPARE_THREADS: u64 = 32;

/// What a worker may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    pub(super) memory: u64,
    pub(super) threads: u64,
    /// Bytes that the host itself handed in.
    pub(super) given: u64,
}

impl Room {
    /// The room under a limit on the plugin's memory; objects that the host makes for it may take as much again.
    pub(super) fn new(memory: u64, threads: usize, given: u64) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from) as u64;
        let threads = threads as u64;
        let own = BASE_MEMORY + THREAD_MEMORY * threads.min(1024);
        Self { memory: memory.saturating_mul(2).saturating_add(own), threads: threads + cores + SPARE_THREADS, given }
    }
}

/// What a worker takes too much of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TooMuch {
    Memory(u64),
    Threads(u64),
}

/// Looks after one process.
pub(super) struct Watch {
    status: File,
    room: Room,
    /// The most bytes that it held of its own.
    pub(super) peak: u64,
}

impl Watch {
    pub(super) fn over(process: u32, room: Room) -> io::Result<Self> {
        Ok(Self { status: File::open(format!("/proc/{process}/status"))?, room, peak: 0 })
    }

    /// Looks once; what it takes too much of, if it does.
    pub(super) fn look(&mut self) -> Option<TooMuch> {
        let mut text = [0; STATUS];
        // One that has ended takes nothing.
        let read = self.status.read_at(&mut text, 0).unwrap_or(0);
        let taken = Taken::of(&String::from_utf8_lossy(&text[..read]), self.room.given);
        self.peak = self.peak.max(taken.most);
        if taken.now > self.room.memory {
            Some(TooMuch::Memory(taken.now))
        } else {
            (taken.threads > self.room.threads).then_some(TooMuch::Threads(taken.threads))
        }
    }
}

/// What one look shows.
#[derive(Debug, Default, PartialEq, Eq)]
struct Taken {
    /// Bytes that are neither files nor given.
    now: u64,
    /// The most that these were.
    most: u64,
    threads: u64,
}

impl Taken {
    fn of(status: &str, given: u64) -> Self {
        let number = |name: &str| -> u64 {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.and_then(|value| value.split_whitespace().next()?.parse().ok()).unwrap_or(0)
        };
        let bytes = |name: &str| number(name) << 10;
        // What the host handed in is shared memory, too.
        let shared = bytes("RssShmem");
        let given = shared.min(given);
        let now = bytes("RssAnon") + shared + bytes("VmSwap");
        // The system's own mark sees what comes and goes between two looks, but files with it.
        let mark = bytes("VmHWM").saturating_sub(bytes("RssFile"));
        Self { now: now - given, most: now.max(mark) - given, threads: number("Threads") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_process_takes_is_its_own_memory_and_not_what_it_was_given() {
        let status = "Name:\tx\nVmHWM:\t  900 kB\nRssAnon:\t  300 kB\nRssFile:\t  200 kB\nRssShmem:\t  100 kB\n\
                      VmSwap:\t  50 kB\nThreads:\t7\n";
        assert_eq!(Taken::of(status, 40 << 10), Taken { now: 410 << 10, most: 660 << 10, threads: 7 });
        assert_eq!(Taken::of(status, u64::MAX), Taken { now: 350 << 10, most: 600 << 10, threads: 7 });
        assert_eq!(
            Taken::of("Name:\tx\nState:\tZ (zombie)\nThreads:\t1\n", 5),
            Taken { threads: 1, ..Taken::default() }
        );
    }

    #[test]
    fn this_process_can_be_watched() {
        let mut watch = Watch::over(std::process::id(), Room::new(0, 1, 0)).unwrap();
        let held = vec![1u8; 8 << 20];
        watch.look();
        assert!(watch.peak >= 8 << 20, "{}", watch.peak);
        drop(std::hint::black_box(held));
        let none = Room { memory: 0, threads: u64::MAX, given: 0 };
        assert!(matches!(Watch::over(std::process::id(), none).unwrap().look(), Some(TooMuch::Memory(_))));
    }
}
