//! What a worker does first of all, before it reads anything.

use std::fs::File;
use std::mem::ManuallyDrop;
use std::os::fd::{FromRawFd, RawFd};

/// Names the process that started a worker, in the worker's environment.
pub(super) const HOST: &str = "QUERIST_WORKER_OF";
/// The least number of the descriptor that the protocol goes over. Plugins that print use another one.
const PIPE: RawFd = 48;

/// Closes whatever was handed down, undoes what may have been done to signals, ties this process to its host, and gives
/// the pipe to the host. What anybody prints from here on goes to standard error.
pub(super) fn begin() -> Result<ManuallyDrop<File>, String> {
    close_inherited()?;
    reset_signals();
    die_with_host()?;
    let failed = |what: &str| format!("{what}: {}", std::io::Error::last_os_error());
    // SAFETY: descriptors are numbers; nothing in this process holds these yet.
    let pipe = unsafe { libc::fcntl(libc::STDOUT_FILENO, libc::F_DUPFD_CLOEXEC, PIPE) };
    // SAFETY: as above.
    if pipe < 0 || unsafe { libc::dup2(libc::STDERR_FILENO, libc::STDOUT_FILENO) } < 0 {
        return Err(failed("cannot set the worker's pipe aside"));
    }
    // SAFETY: it was made here, and is never closed, so that nothing else comes to have its number.
    Ok(ManuallyDrop::new(unsafe { File::from_raw_fd(pipe) }))
}

fn close_inherited() -> Result<(), String> {
    let first = libc::STDERR_FILENO + 1;
    // SAFETY: nothing in this process has opened anything yet: what is closed was somebody else's.
    let closed = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) };
    if closed == 0 {
        return Ok(());
    }
    Err(format!("cannot close what the worker inherited: {}", std::io::Error::last_os_error()))
}

/// Whoever started the host may have had signals ignored or blocked, and a process hands that down.
fn reset_signals() {
    for signal in 1..=libc::SIGRTMAX() {
        // SAFETY: zeroed structures are valid; handlers cannot be inherited, so those that are there are this
        // program's.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            if libc::sigaction(signal, std::ptr::null(), &raw mut action) == 0 && action.sa_sigaction == libc::SIG_IGN {
                action.sa_sigaction = libc::SIG_DFL;
                libc::sigaction(signal, &raw const action, std::ptr::null_mut());
            }
        }
    }
    // SAFETY: an empty set is a valid one.
    unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}

/// The system kills this process when its host ends; the host may have ended before that was said.
fn die_with_host() -> Result<(), String> {
    let wanted = libc::SIGKILL as libc::c_ulong;
    // SAFETY: sets one property of this process.
    if unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, wanted) } != 0 {
        return Err(format!("cannot tie the worker to its host: {}", std::io::Error::last_os_error()));
    }
    let host = std::env::var(HOST).ok().and_then(|host| host.parse().ok());
    if host != Some(std::os::unix::process::parent_id()) {
        return Err("this verb is for the program itself: `--isolate` starts it".to_owned());
    }
    Ok(())
}
