//! The libtorch of this process: where it lies, its version, and whether it can use a GPU.

use std::ffi::CStr;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::{TorchError, ffi};

/// What is known of the loaded libtorch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runtime {
    /// Folder of `libtorch_cpu.so`, links resolved; `None` where the system does not tell.
    pub folder: Option<PathBuf>,
    /// Version that this was built against, such as `2.11.0`.
    pub version: &'static str,
    /// Whether GPUs can be used.
    pub cuda: Cuda,
}

/// Whether libtorch's C++ strings are those of C++11; every build of it since 2.6 has them, and the shim does not
/// compile against another.
pub const CXX11_STRINGS: bool = true;

/// Whether GPUs can be used, and if not, what is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cuda {
    /// No `libtorch_cuda.so` lies beside `libtorch_cpu.so`: this libtorch is for CPUs only.
    NotInstalled,
    /// It lies there, but could not be loaded.
    Unloadable(String),
    /// It is loaded; so many devices answer.
    Loaded {
        /// Number of devices; 0 without a driver or a GPU.
        devices: usize,
    },
}

impl Cuda {
    /// Number of GPUs that can be used.
    pub fn devices(&self) -> usize {
        if let Self::Loaded { devices } = self { *devices } else { 0 }
    }
}

impl fmt::Display for Cuda {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotInstalled => f.write_str("this libtorch is for CPUs only (no libtorch_cuda.so beside it)"),
            Self::Unloadable(reason) => write!(f, "libtorch_cuda.so cannot be loaded: {reason}"),
            Self::Loaded { devices: 0 } => f.write_str("libtorch found no NVIDIA driver or no GPU"),
            Self::Loaded { devices: 1 } => f.write_str("1 GPU"),
            Self::Loaded { devices } => write!(f, "{devices} GPUs"),
        }
    }
}

/// Freed memory that the C allocator keeps for the next minibatch.
///
/// A training step frees all its activations at its end. Handing them back to the system costs a page fault for every
/// 4 KiB of the next step, which made up a quarter of the time of a small network.
const KEPT_BYTES: i32 = 1 << 30;

/// Loads libtorch's CUDA part where there is one. The first thing to do in a process; later calls do nothing.
///
/// libtorch asks once whether CUDA is there and keeps the answer, and even seeding its generator asks. So this must
/// come before anything else that touches libtorch, while the process still has one thread.
pub fn init() {
    loaded();
}

/// What is known of the loaded libtorch.
pub fn describe() -> Runtime {
    let Loaded { folder, cuda } = loaded();
    let cuda = match cuda {
        Part::Absent => Cuda::NotInstalled,
        Part::Broken(reason) => Cuda::Unloadable(reason.clone()),
        // SAFETY: takes nothing, returns a number.
        Part::There => Cuda::Loaded { devices: usize::try_from(unsafe { ffi::querist_cuda_devices() }).unwrap_or(0) },
    };
    // SAFETY: the shim returns a text that lives as long as the process.
    let version = unsafe { CStr::from_ptr(ffi::querist_torch_version()) };
    Runtime { folder: folder.clone(), version: version.to_str().unwrap_or("unknown"), cuda }
}

/// Most threads that [`set_threads`] takes.
pub const MAX_THREADS: usize = 1024;

/// Sets how many threads libtorch computes with on the CPU, for the whole process.
///
/// # Errors
/// If `threads` is 0 or above [`MAX_THREADS`].
pub fn set_threads(threads: usize) -> Result<(), TorchError> {
    init();
    match i32::try_from(threads) {
        // SAFETY: the message is the shim's.
        Ok(n) if (1..=MAX_THREADS).contains(&threads) => unsafe { ffi::checked(ffi::querist_set_threads(n)) },
        _ => Err(TorchError(format!("{threads} threads, expected 1 to {MAX_THREADS}"))),
    }
}

struct Loaded {
    folder: Option<PathBuf>,
    cuda: Part,
}

enum Part {
    Absent,
    Broken(String),
    There,
}

fn loaded() -> &'static Loaded {
    static LOADED: OnceLock<Loaded> = OnceLock::new();
    LOADED.get_or_init(|| {
        // SAFETY: takes a number and changes only when the allocator returns memory.
        unsafe { ffi::querist_keep_memory(KEPT_BYTES) };
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
        let folder = mapped_folder(&maps, "libtorch_cpu.so");
        let cuda = folder.as_deref().map_or(Part::Absent, load_cuda);
        Loaded { folder, cuda }
    })
}

/// Loads `libtorch_cuda.so` for good, if it lies in `folder`.
fn load_cuda(folder: &Path) -> Part {
    use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
    let path = folder.join("libtorch_cuda.so");
    if !path.exists() {
        return Part::Absent;
    }
    if std::env::var_os("CUBLAS_WORKSPACE_CONFIG").is_none() {
        // SAFETY: `init` asks for a process of one thread. cuBLAS reads this when it starts, and repeats itself bit for
        // bit only with a fixed workspace.
        unsafe { std::env::set_var("CUBLAS_WORKSPACE_CONFIG", ":4096:8") };
    }
    // SAFETY: the constructors of libtorch's own libraries expect to run in this way: it is how Python loads them.
    match unsafe { Library::open(Some(&path), RTLD_NOW | RTLD_GLOBAL) } {
        Ok(library) => {
            // Never unloaded: libtorch keeps pointers into it.
            std::mem::forget(library);
            Part::There
        }
        Err(error) => Part::Broken(error.to_string()),
    }
}

/// Folder of a library in the text of `/proc/self/maps`.
fn mapped_folder(maps: &str, library: &str) -> Option<PathBuf> {
    maps.lines().find_map(|line| {
        // Address, permissions, offset, device, inode, then the path, which may hold spaces.
        let path = Path::new(line.get(line.find('/')?..)?);
        (path.file_name()? == library).then(|| path.parent().map(Path::to_path_buf))?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mapped_library_is_found() {
        let maps = "55d0-55d1 r--p 00000000 08:01 12 /usr/bin/querist\n\
                    7f00-7f01 r-xp 00001000 08:01 42                 /opt/my torch/lib/libtorch_cpu.so\n\
                    7f02-7f03 rw-p 00000000 00:00 0 \n";
        assert_eq!(mapped_folder(maps, "libtorch_cpu.so"), Some("/opt/my torch/lib".into()));
        assert_eq!(mapped_folder(maps, "libtorch_cuda.so"), None);
    }

    #[test]
    fn this_process_runs_on_the_version_it_was_built_for() {
        init();
        init();
        let runtime = describe();
        assert_eq!(runtime.version, "2.11.0");
        let folder = runtime.folder.unwrap();
        assert!(folder.join("libtorch_cpu.so").is_file(), "{}", folder.display());
        assert_eq!(runtime.cuda == Cuda::NotInstalled, !folder.join("libtorch_cuda.so").exists());
    }

    #[test]
    fn thread_counts_are_checked_and_taken() {
        assert!(set_threads(0).is_err());
        assert!(set_threads(MAX_THREADS + 1).is_err());
        set_threads(2).unwrap();
        assert_eq!(tch::get_num_threads(), 2);
        set_threads(1).unwrap();
        assert_eq!(tch::get_num_threads(), 1);
    }
}
