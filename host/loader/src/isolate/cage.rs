//! What a worker gives up before it loads a plugin.

use std::collections::BTreeMap;

use landlock::{
    ABI, Access, AccessFs, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus, Scope,
};
use rustix::process::{Resource, Rlimit, setrlimit};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};

use crate::manifest::MAX_ARTIFACT_BYTES;

/// Address space of a worker beyond its limit and its job, for program and libraries.
const BASE_MEMORY: u64 = 512 << 20;
/// The same for each thread: its stack, and what the C library reserves for its allocations.
const THREAD_MEMORY: u64 = 96 << 20;
/// Folders of the system's libraries, which a plugin may need and nobody minds being read.
const LIBRARIES: [&str; 5] = ["/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache"];

/// Gives up memory, files and system calls; the system's libraries can still be read.
pub(super) fn close(memory: u64, seconds: f64, threads: usize) -> Result<(), String> {
    let room = BASE_MEMORY + THREAD_MEMORY * threads.min(1024) as u64;
    limit(Resource::As, memory.saturating_add(room))?;
    limit(Resource::Core, 0)?;
    // The plugin itself is copied to a memory file.
    limit(Resource::Fsize, MAX_ARTIFACT_BYTES)?;
    limit(Resource::Nofile, 64)?;
    // All threads together; the host's own watch ends a worker that sleeps.
    limit(Resource::Cpu, (seconds.min(1e9) as u64).saturating_mul(64).saturating_add(10))?;
    forbid_files()?;
    trap::install()?;
    forbid_calls(&[allowed(), loading()].concat())
}

/// Gives up reading files too, once the plugin is loaded. Holds for every thread.
pub(super) fn close_files() -> Result<(), String> {
    forbid_calls(&allowed())
}

fn limit(resource: Resource, value: u64) -> Result<(), String> {
    setrlimit(resource, Rlimit { current: Some(value), maximum: Some(value) })
        .map_err(|error| format!("cannot limit {resource:?} of the worker: {error}"))
}

fn forbid_files() -> Result<(), String> {
    let failed = |error: &dyn std::fmt::Display| format!("cannot close files to the worker (landlock): {error}");
    let access = AccessFs::from_all(ABI::V5);
    let read = AccessFs::ReadFile | AccessFs::ReadDir | AccessFs::Execute;
    let mut rules = Ruleset::default()
        .handle_access(access)
        .and_then(|rules| rules.scope(Scope::from_all(ABI::V6)))
        .and_then(|rules| rules.create())
        .map_err(|error| failed(&error))?;
    for path in LIBRARIES {
        // Not every system has every folder.
        if let Ok(folder) = PathFd::new(path) {
            let folder_access = if std::path::Path::new(path).is_dir() { read } else { AccessFs::ReadFile.into() };
            rules = rules.add_rule(PathBeneath::new(folder, folder_access)).map_err(|error| failed(&error))?;
        }
    }
    let status = rules.restrict_self().map_err(|error| failed(&error))?;
    if status.ruleset == RulesetStatus::NotEnforced {
        return Err("this system has no landlock (Linux 5.13 and later have it), so plugins cannot be isolated here; \
                    use `--allow-native` for those that you trust"
            .to_owned());
    }
    Ok(())
}

/// System calls that arithmetic, memory and threads take.
fn allowed() -> Vec<(i64, Vec<SeccompRule>)> {
    use libc::*;
    let plain = [
        SYS_read,
        SYS_write,
        SYS_close,
        SYS_fstat,
        SYS_lseek,
        SYS_mmap,
        SYS_munmap,
        SYS_mremap,
        SYS_mprotect,
        SYS_madvise,
        SYS_brk,
        SYS_futex,
        SYS_set_robust_list,
        SYS_get_robust_list,
        SYS_rseq,
        SYS_rt_sigaction,
        SYS_rt_sigprocmask,
        SYS_rt_sigreturn,
        SYS_sigaltstack,
        SYS_exit,
        SYS_exit_group,
        SYS_clock_gettime,
        SYS_clock_getres,
        SYS_clock_nanosleep,
        SYS_nanosleep,
        SYS_gettimeofday,
        SYS_sched_yield,
        SYS_sched_getaffinity,
        SYS_getrandom,
        SYS_gettid,
        SYS_getpid,
        SYS_getrusage,
        SYS_membarrier,
        SYS_sysinfo,
        SYS_uname,
        SYS_restart_syscall,
        SYS_prctl,
        SYS_getcpu,
        #[cfg(target_arch = "x86_64")]
        SYS_time,
        #[cfg(target_arch = "x86_64")]
        SYS_poll,
        SYS_ppoll,
    ];
    let mut rules: Vec<(i64, Vec<SeccompRule>)> = plain.into_iter().map(|call| (call, Vec::new())).collect();
    // A thread of this process, not a process of its own.
    let thread = (CLONE_VM | CLONE_THREAD) as u64;
    rules.push((SYS_clone, when(0, SeccompCmpOp::MaskedEq(thread), thread)));
    // A signal to this process: `abort` sends one.
    let this = u64::from(std::process::id());
    rules.push((SYS_tgkill, when(0, SeccompCmpOp::Eq, this)));
    // Limits may be read, not set.
    rules.push((SYS_prlimit64, when(2, SeccompCmpOp::Eq, 0)));
    rules
}

/// System calls that loading a library takes besides.
fn loading() -> Vec<(i64, Vec<SeccompRule>)> {
    use libc::*;
    let calls = [
        SYS_openat,
        SYS_newfstatat,
        SYS_statx,
        SYS_pread64,
        SYS_readlinkat,
        SYS_faccessat,
        SYS_faccessat2,
        SYS_memfd_create,
        SYS_fcntl,
        SYS_seccomp,
        SYS_getcwd,
        #[cfg(target_arch = "x86_64")]
        SYS_open,
        #[cfg(target_arch = "x86_64")]
        SYS_readlink,
        #[cfg(target_arch = "x86_64")]
        SYS_access,
    ];
    calls.into_iter().map(|call| (call, Vec::new())).collect()
}

fn when(argument: u8, operator: SeccompCmpOp, value: u64) -> Vec<SeccompRule> {
    let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Qword, operator, value);
    condition.and_then(|condition| SeccompRule::new(vec![condition])).into_iter().collect()
}

fn forbid_calls(rules: &[(i64, Vec<SeccompRule>)]) -> Result<(), String> {
    let failed = |error: &dyn std::fmt::Display| format!("cannot close system calls to the worker (seccomp): {error}");
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(|error| failed(&error))?;
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = rules.iter().cloned().collect();
    // Left to the other filter: of two answers the system takes the stricter, and this one would be.
    rules.insert(libc::SYS_clone3, Vec::new());
    let filter = SeccompFilter::new(rules, SeccompAction::Trap, SeccompAction::Allow, arch);
    let program: BpfProgram =
        filter.and_then(TryInto::try_into).map_err(|error: seccompiler::BackendError| failed(&error))?;
    // The C library starts threads with `clone3`, whose flags a filter cannot see, and falls back to `clone` where the
    // system does not have it.
    let no_clone3 = SeccompFilter::new(
        BTreeMap::from([(libc::SYS_clone3, Vec::new())]),
        SeccompAction::Allow,
        SeccompAction::Errno(libc::ENOSYS as u32),
        arch,
    );
    let no_clone3: BpfProgram =
        no_clone3.and_then(TryInto::try_into).map_err(|error: seccompiler::BackendError| failed(&error))?;
    seccompiler::apply_filter_all_threads(&no_clone3).map_err(|error| failed(&error))?;
    seccompiler::apply_filter_all_threads(&program).map_err(|error| failed(&error))
}

/// What a forbidden system call would have done, in words.
pub(super) fn name_of(call: i64) -> Option<&'static str> {
    Some(match call {
        libc::SYS_clone | libc::SYS_clone3 | libc::SYS_execve | libc::SYS_execveat => "tried to start a process",
        #[cfg(target_arch = "x86_64")]
        libc::SYS_fork | libc::SYS_vfork => "tried to start a process",
        libc::SYS_socket | libc::SYS_socketpair | libc::SYS_connect | libc::SYS_bind => "tried to open a socket",
        libc::SYS_openat | libc::SYS_openat2 | libc::SYS_newfstatat | libc::SYS_statx => "tried to open a file",
        #[cfg(target_arch = "x86_64")]
        libc::SYS_open | libc::SYS_stat | libc::SYS_access | libc::SYS_creat => "tried to open a file",
        libc::SYS_kill | libc::SYS_tgkill | libc::SYS_tkill => "tried to send a signal",
        libc::SYS_ptrace | libc::SYS_process_vm_readv | libc::SYS_process_vm_writev => {
            "tried to look into another process"
        }
        _ => return None,
    })
}

/// The name of a signal, as people know it.
pub(super) fn signal_name(signal: i32) -> String {
    let name = match signal {
        libc::SIGSEGV => "segmentation fault",
        libc::SIGABRT => "abort",
        libc::SIGBUS => "bus error",
        libc::SIGFPE => "arithmetic exception",
        libc::SIGILL => "illegal instruction",
        libc::SIGSYS => "forbidden system call",
        libc::SIGKILL => "killed: out of memory, or by hand",
        libc::SIGXCPU => "out of processor time",
        libc::SIGTERM => "terminated",
        other => return format!("signal {other}"),
    };
    name.to_owned()
}

/// Says which forbidden call was made, and ends the worker.
mod trap {
    /// Files that the C library reads on its own account: for the number of processors, and when it gives memory back. It
    /// is told that there are none and does without.
    #[cfg(target_arch = "x86_64")]
    const OF_THE_C_LIBRARY: [&[u8]; 3] =
        [b"/sys/devices/system/cpu/online\0", b"/proc/stat\0", b"/proc/sys/vm/overcommit_memory\0"];

    /// Answers a question of the C library; whether it was one.
    #[cfg(target_arch = "x86_64")]
    fn answer(call: i32, context: *mut libc::c_void) -> bool {
        if i64::from(call) != libc::SYS_openat {
            return false;
        }
        // SAFETY: the system hands the registers of the interrupted call to handlers of this kind.
        let registers = unsafe { &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
        let path = registers[libc::REG_RSI as usize] as *const u8;
        // SAFETY: reads no farther than the first byte that differs, as the system itself would have.
        let is = |name: &[u8]| name.iter().enumerate().all(|(at, &byte)| unsafe { *path.add(at) } == byte);
        if path.is_null() || !OF_THE_C_LIBRARY.into_iter().any(is) {
            return false;
        }
        registers[libc::REG_RAX as usize] = -i64::from(libc::ENOENT);
        true
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn answer(_: i32, _: *mut libc::c_void) -> bool {
        false
    }

    /// Runs inside the offending call, so only what is safe there: one write, and the end.
    extern "C" fn forbidden(_: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
        // SAFETY: the system hands in a valid structure; for SIGSYS the number of the call stands behind an address, in
        // the order of `siginfo_t`: signal, errno, code, padding, address, call.
        let call = unsafe { info.cast::<u8>().add(24).cast::<i32>().read_unaligned() };
        if answer(call, context) {
            return;
        }
        let mut line = *b"\n{\"Forbidden\":{\"call\":00000}}\n";
        let mut rest = call.clamp(0, 99_999);
        // Leading zeros are no JSON, so the number is written over blanks.
        for at in (0..5).rev() {
            let digit = (rest % 10) as u8;
            line[22 + at] = if rest == 0 && at < 4 { b' ' } else { b'0' + digit };
            rest /= 10;
        }
        // SAFETY: writes bytes that are there, and ends the process.
        unsafe {
            libc::write(1, line[1..].as_ptr().cast(), line.len() - 1);
            libc::_exit(1);
        }
    }

    pub(super) fn install() -> Result<(), String> {
        let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) = forbidden;
        // SAFETY: a zeroed structure is a valid one, and the handler does only what handlers may.
        let installed = unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = handler as usize;
            action.sa_flags = libc::SA_SIGINFO;
            libc::sigaction(libc::SIGSYS, &raw const action, std::ptr::null_mut())
        };
        if installed == 0 { Ok(()) } else { Err(std::io::Error::last_os_error().to_string()) }
    }
}
