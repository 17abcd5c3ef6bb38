//! A native package for tests: shipped strategies as native twins, and one that does what isolated plugins may not.

mod hostile;

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
    /// Prints a little.
    Print,
    /// Prints without end.
    PrintMuch,
    /// Writes to whatever is open.
    Descriptors,
    /// Hoards memory in files.
    MemoryFile,
    /// Hoards memory that could be shared.
    SharedMemory,
    /// Starts threads.
    Threads,
    /// Handles the signal of forbidden calls itself.
    HandleSignal,
    /// Blocks the signal of forbidden calls.
    BlockSignal,
    /// Makes a forbidden call when nobody listens.
    Unheard,
    /// Starts a thread in another user namespace.
    Namespace,
    /// Wants to outlive the host.
    Outlive,
    /// Looks whether signals were left as somebody else had them.
    Signals,
    /// Looks for arrays in the job that were not declared.
    Peek,
    /// Forges two million lines of progress, then answers.
    Progress,
    /// Forges a million lines of log, then answers.
    ForgedLog,
    /// Writes a line of a gibibyte to the host's pipe.
    LongLine,
    /// Writes what is no message to the host's pipe.
    Nonsense,
    /// Says that the user stopped it, with advice to the user.
    ClaimCancelled,
    /// Says that it is out of time.
    ClaimTimeout,
    /// Answers with more rows than there are, and says that it has written them.
    ClaimRows,
    /// Closes the host's pipe and stays.
    ClosePipe,
    /// Forges its needs while it is loaded.
    LoadForge,
    /// Never finishes loading.
    LoadHang,
    /// Hoards memory in files while it is loaded.
    LoadMemoryFile,
    /// Opens a file while it is loaded.
    LoadFile,
    /// Changes its own filter while it is loaded.
    LoadFilter,
    /// Makes the system call of number `call`, without arguments.
    Call,
    /// Makes a system call as programs of 32 bits do.
    OldCall,
    /// Asks openly for more than its package states.
    Greedy,
    /// Asks for what it may under other parameters, and gets it.
    Modest,
    /// Picks other rows each time that it is asked.
    Fickle,
}

/// Misbehaves as told.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Misbehave {
    /// What goes wrong.
    pub how: How,
    /// The system call of `call`.
    pub call: u32,
}

impl Strategy for Misbehave {
    const ID: &'static str = "native-misbehave";
    const SUMMARY: &'static str = "Breaks one rule";
    const PAPER: &'static str = "None";

    fn needs(&self) -> Vec<Need> {
        let more = match self.how {
            How::Greedy => Some(names::EMBEDDINGS),
            How::Modest => Some(names::PENULTIMATE),
            _ => None,
        };
        [names::LOGITS].into_iter().chain(more).map(Need::new).collect()
    }

    fn may_need() -> Vec<Need> {
        vec![Need::new(names::PENULTIMATE)]
    }
}

impl Selector for Misbehave {
    fn select(&self, query: &Query) -> Result<Selection> {
        let mut rows: Vec<u32> = (0..query.wanted()).collect();
        match self.how {
            // What is done while it is loaded is done before this.
            How::Nothing
            | How::LoadForge
            | How::LoadHang
            | How::LoadMemoryFile
            | How::LoadFile
            | How::LoadFilter
            | How::Greedy => {}
            How::Call => hostile::call(self.call),
            How::OldCall => hostile::old_call(),
            How::Modest => drop(query.matrix(names::PENULTIMATE)?),
            How::Fickle => {
                // The clock needs no system call, and no two questions are asked at the same nanosecond.
                let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
                let turn = now.map_or(0, |now| now.subsec_nanos() / 64) % query.rows().max(1);
                rows.iter_mut().for_each(|row| *row = (*row + turn) % query.rows());
            }
            How::Print => println!("{{\"Failed\":{{\"kind\":\"failed\",\"message\":\"printed\"}}}}"),
            How::PrintMuch => hostile::print(4096),
            How::Descriptors => hostile::write_everywhere(),
            How::MemoryFile => hostile::memory_files(),
            How::SharedMemory => hostile::shared_memory(),
            How::Threads => hostile::threads(),
            How::HandleSignal => hostile::handle_signal(),
            How::BlockSignal => hostile::block_signal(),
            How::Unheard => hostile::unheard(),
            How::Namespace => hostile::namespace(),
            How::Outlive => hostile::outlive(),
            How::Signals => hostile::signals(),
            How::Peek => hostile::peek(),
            How::Progress => hostile::flood("{\"Progress\":{\"done\":18446744073709551615,\"total\":1}}\n", 2_000_000),
            How::ForgedLog => hostile::flood("{\"Log\":{\"level\":9,\"message\":\"again\\u001b[2J\"}}\n", 1_000_000),
            How::LongLine => hostile::long_line(),
            How::Nonsense => {
                hostile::say("\u{1b}[31mhello\n");
                hostile::hang();
            }
            How::ClaimCancelled => {
                let text = "gone\\u001b[2J, run curl";
                hostile::say(&format!(
                    "{{\"Failed\":{{\"kind\":\"cancelled\",\"message\":\"{text}\",\"hint\":\"obey\"}}}}\n"
                ));
                hostile::hang();
            }
            How::ClaimTimeout => {
                hostile::say("{\"Failed\":{\"kind\":\"timeout\",\"message\":\"so it says\"}}\n");
                hostile::hang();
            }
            How::ClaimRows => {
                let sizes = "\"rows\":1000000000000,\"scores\":0,\"state\":null,\"figures\":[]";
                hostile::say(&format!("{{\"Answer\":{{{sizes}}}}}\n"));
                hostile::hang();
            }
            How::ClosePipe => {
                hostile::close_pipe();
                hostile::hang();
            }
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
