//! A native package for tests: shipped strategies as native twins, and one that does what isolated plugins may not.

use querist_sdk::prelude::*;
use querist_sdk::{Entry, Package};

/// What goes wrong.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// Nothing: the first rows are picked.
    #[default]
    Nothing,
    /// Reads where there is no memory.
    Crash,
    /// Ends the process.
    Abort,
    /// Never answers.
    Hang,
    /// Starts a process.
    Fork,
    /// Opens a socket.
    Socket,
    /// Reads a file.
    File,
    /// What C libraries do on their own account: counts the processors, and gives memory of another thread's heap back.
    Innocent,
    /// Asks for more memory than there may be.
    Memory,
    /// Panics.
    Panic,
    /// Picks one row twice.
    Twice,
    /// Asks the host for an object that it does not have.
    BadHandle,
    /// Leaves by the back door.
    Exit,
    /// Fills the log.
    Log,
}

/// Misbehaves as told.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Misbehave {
    /// What goes wrong.
    pub how: How,
}

impl Strategy for Misbehave {
    const ID: &'static str = "native-misbehave";
    const SUMMARY: &'static str = "Breaks one rule";
    const PAPER: &'static str = "None";

    fn needs(&self) -> Vec<Need> {
        vec![Need::new(names::LOGITS)]
    }
}

impl Selector for Misbehave {
    fn select(&self, query: &Query) -> Result<Selection> {
        let mut rows: Vec<u32> = (0..query.wanted()).collect();
        match self.how {
            How::Nothing => {}
            // SAFETY: none, on purpose.
            How::Crash => rows[0] = u32::from(unsafe { std::ptr::without_provenance::<u8>(16).read_volatile() }),
            How::Abort => std::process::abort(),
            How::Hang => loop {
                std::thread::sleep(std::time::Duration::from_secs(3600));
            },
            How::Fork => {
                // SAFETY: the child ends at once.
                if unsafe { libc::fork() } == 0 {
                    // SAFETY: ends the child without running anything.
                    unsafe { libc::_exit(0) };
                }
            }
            How::Socket => drop(std::net::TcpListener::bind("127.0.0.1:0")),
            How::File => drop(std::fs::read("/etc/hostname")),
            How::Innocent => {
                unsafe extern "C" {
                    fn get_nprocs() -> std::ffi::c_int;
                }
                // SAFETY: takes nothing and counts.
                assert!(unsafe { get_nprocs() } > 0, "no processor at all");
                let busy = || {
                    let blocks: Vec<Vec<u8>> = (0..500).map(|_| vec![1; 20_000]).collect();
                    drop(blocks);
                };
                std::thread::spawn(busy).join().expect("the thread ends");
            }
            How::Memory => {
                let mut hoard: Vec<Vec<u8>> = Vec::new();
                loop {
                    hoard.push(vec![1; 1 << 28]);
                }
            }
            How::Panic => panic!("on purpose, with 7 * 6 = {}", 7 * 6),
            How::Twice => rows[1] = rows[0],
            How::BadHandle => drop(query.matrix("embeddings")?),
            How::Exit => std::process::exit(0),
            How::Log => {
                for _ in 0..100_000 {
                    query.log(LogLevel::Info, "the same again and again, until the log is full")?;
                }
            }
        }
        Ok(Selection { rows, ..Selection::default() })
    }
}

/// The package.
pub static PACKAGE: Package = Package {
    name: "native-fixture",
    version: env!("CARGO_PKG_VERSION"),
    entries: &[
        Entry::scorer::<strategy_uncertainty::Entropy>(),
        Entry::scorer::<strategy_uncertainty::Margin>(),
        Entry::selector::<strategy_k_center_greedy::KCenterGreedy>(),
        Entry::selector::<strategy_badge::Badge>(),
        Entry::selector::<strategy_alfa_mix::AlfaMix>(),
        Entry::selector::<Misbehave>(),
    ],
};

querist_sdk::export_native!(PACKAGE);
