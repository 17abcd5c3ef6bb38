//! What a worker gives up before it loads a plugin.

use std::collections::BTreeMap;

use landlock::{
    ABI, Access, AccessFs, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus, Scope,
};
use rustix::process::{Resource, Rlimit, setrlimit};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};

use crate::package::file::MAX_ARTIFACT_BYTES;

/// Address space of a worker beyond its limit and its job, for program and libraries.
const BASE_MEMORY: u64 = 512 << 20;
/// The same for each thread: its stack, and what the C library reserves for its allocations.
const THREAD_MEMORY: u64 = 96 << 20;
/// Folders of the system's libraries, which a plugin may need and nobody minds being read.
const LIBRARIES: [&str; 5] = ["/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache"];
/// How the C library starts a thread. Nothing else may be asked for: no process, and no namespace.
const THREAD: libc::c_int = libc::CLONE_VM
    | libc::CLONE_FS
    | libc::CLONE_FILES
    | libc::CLONE_SYSVSEM
    | libc::CLONE_SIGHAND
    | libc::CLONE_THREAD
    | libc::CLONE_SETTLS
    | libc::CLONE_PARENT_SETTID
    | libc::CLONE_CHILD_CLEARTID;
/// What may be said about memory; not that pages be shared with others, or broken.
const ADVICE: [libc::c_int; 16] = [
    libc::MADV_NORMAL,
    libc::MADV_RANDOM,
    libc::MADV_SEQUENTIAL,
    libc::MADV_WILLNEED,
    libc::MADV_DONTNEED,
    libc::MADV_FREE,
    libc::MADV_HUGEPAGE,
    libc::MADV_NOHUGEPAGE,
    libc::MADV_DONTDUMP,
    libc::MADV_DODUMP,
    libc::MADV_COLD,
    libc::MADV_PAGEOUT,
    libc::MADV_POPULATE_READ,
    libc::MADV_POPULATE_WRITE,
    // Guard pages, and their end, which newer C libraries put below the stacks of threads.
    102,
    103,
];
/// What a process may ask the system about itself: the names of its threads and of its memory.
const SELF: [libc::c_int; 3] = [libc::PR_SET_NAME, libc::PR_GET_NAME, libc::PR_SET_VMA];

/// Gives up memory and files; the system's libraries can still be read.
pub(super) fn close(memory: u64, seconds: f64, threads: usize) -> Result<(), String> {
    let room = BASE_MEMORY + THREAD_MEMORY * threads.min(1024) as u64;
    limit(Resource::As, memory.saturating_add(room))?;
    // There is one memory file to write, whose size is sealed.
    limit(Resource::Fsize, MAX_ARTIFACT_BYTES)?;
    limit(Resource::Nofile, 64)?;
    for none in [Resource::Core, Resource::Memlock, Resource::Msgqueue] {
        limit(none, 0)?;
    }
    // All threads together; the host's own watch ends a worker that sleeps.
    limit(Resource::Cpu, (seconds.min(1e9) as u64).saturating_mul(64).saturating_add(10))?;
    forbid_files(&LIBRARIES)
}

/// Gives up the rest: files altogether, and system calls but those of memory, threads and clocks. Holds for every
/// thread. Whatever is not of this program or the system is loaded after this.
pub(super) fn close_all() -> Result<(), String> {
    forbid_files(&[])?;
    super::trap::install()?;
    forbid_calls()
}

fn limit(resource: Resource, value: u64) -> Result<(), String> {
    setrlimit(resource, Rlimit { current: Some(value), maximum: Some(value) })
        .map_err(|error| format!("cannot limit {resource:?} of the worker: {error}"))
}

fn forbid_files(but: &[&str]) -> Result<(), String> {
    let failed = |error: &dyn std::fmt::Display| format!("cannot close files to the worker (landlock): {error}");
    let access = AccessFs::from_all(ABI::V5);
    let read = AccessFs::ReadFile | AccessFs::ReadDir | AccessFs::Execute;
    let mut rules = Ruleset::default()
        .handle_access(access)
        .and_then(|rules| rules.scope(Scope::from_all(ABI::V6)))
        .and_then(|rules| rules.create())
        .map_err(|error| failed(&error))?;
    for path in but {
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
///
/// Each is harmless whatever its arguments, or only with those that are named here. None makes memory that the limit on
/// address space does not count: no memory file, pipe, socket, queue or System V segment can be had.
fn allowed() -> BTreeMap<i64, Vec<SeccompRule>> {
    use libc::*;
    let plain = [
        SYS_read,
        SYS_pread64,
        SYS_write,
        SYS_close,
        SYS_dup,
        SYS_fstat,
        SYS_lseek,
        SYS_mmap,
        SYS_munmap,
        SYS_mremap,
        SYS_mprotect,
        SYS_brk,
        SYS_futex,
        SYS_set_robust_list,
        SYS_rseq,
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
        SYS_getcpu,
        #[cfg(target_arch = "x86_64")]
        SYS_time,
        #[cfg(target_arch = "x86_64")]
        SYS_poll,
        SYS_ppoll,
    ];
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = plain.into_iter().map(|call| (call, Vec::new())).collect();
    let exactly = |argument: u8, values: &[c_int]| {
        values.iter().flat_map(|&value| when(&[(argument, SeccompCmpOp::Eq, u64::from(value as u32))])).collect()
    };
    let thread = (CLONE_VM | CLONE_THREAD) as u64;
    let others = !(THREAD as u64);
    rules.insert(
        SYS_clone,
        when(&[(0, SeccompCmpOp::MaskedEq(thread), thread), (0, SeccompCmpOp::MaskedEq(others), 0)]),
    );
    // A signal to this process: `abort` sends one.
    rules.insert(SYS_tgkill, exactly(0, &[std::process::id() as c_int]));
    // Its own limits may be read, not set.
    rules.insert(SYS_prlimit64, when(&[(0, SeccompCmpOp::Eq, 0), (2, SeccompCmpOp::Eq, 0)]));
    rules.insert(SYS_madvise, exactly(2, &ADVICE));
    rules.insert(SYS_prctl, exactly(0, &SELF));
    // Who forbidden calls are reported to is settled. The system looks at the lower half of the number only.
    let not_ours = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, SIGSYS as u64);
    rules.insert(SYS_rt_sigaction, not_ours.and_then(|other| SeccompRule::new(vec![other])).into_iter().collect());
    // Left to the other filter: of two answers the system takes the stricter, and this one would be.
    rules.insert(SYS_clone3, Vec::new());
    rules
}

fn when(conditions: &[(u8, SeccompCmpOp, u64)]) -> Vec<SeccompRule> {
    let condition = |&(argument, ref operator, value): &(u8, SeccompCmpOp, u64)| {
        SeccompCondition::new(argument, SeccompCmpArgLen::Qword, operator.clone(), value)
    };
    let all: Result<Vec<_>, _> = conditions.iter().map(condition).collect();
    all.and_then(SeccompRule::new).into_iter().collect()
}

fn forbid_calls() -> Result<(), String> {
    let failed = |error: &dyn std::fmt::Display| format!("cannot close system calls to the worker (seccomp): {error}");
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(|error| failed(&error))?;
    let filter = SeccompFilter::new(allowed(), SeccompAction::Trap, SeccompAction::Allow, arch);
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
        libc::SYS_memfd_create | libc::SYS_memfd_secret | libc::SYS_shmget => "tried to make shared memory",
        libc::SYS_pipe2 => "tried to make a pipe",
        #[cfg(target_arch = "x86_64")]
        libc::SYS_pipe => "tried to make a pipe",
        libc::SYS_rt_sigaction => "tried to handle the signal that reports forbidden system calls",
        libc::SYS_prctl | libc::SYS_seccomp => "tried to change how the system treats it",
        libc::SYS_prlimit64 | libc::SYS_setrlimit => "tried to change limits",
        libc::SYS_unshare | libc::SYS_setns | libc::SYS_mount => "tried to change its view of the system",
        libc::SYS_madvise | libc::SYS_userfaultfd => "tried to change how its memory is kept",
        libc::SYS_io_uring_setup | libc::SYS_io_setup => "tried to have the system read and write by itself",
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
        libc::SIGKILL => "killed, but not by this program: the machine is out of memory, or somebody did it",
        libc::SIGXCPU => "out of processor time",
        libc::SIGTERM => "terminated",
        other => return format!("signal {other}"),
    };
    name.to_owned()
}
