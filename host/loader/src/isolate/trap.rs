//! What happens where a plugin makes a system call that it may not: the call is not made, the host is told which it
//! was, and the process ends. A few questions of the C library are answered instead.

use std::sync::atomic::{AtomicI32, Ordering};

/// Where the host is told; -1 for nowhere.
static PIPE: AtomicI32 = AtomicI32::new(-1);
/// Library files that exist in memory only and may be loaded: the plugin, and the room for one that it brings with it.
static LIBRARIES: [AtomicI32; 2] = [AtomicI32::new(-1), AtomicI32::new(-1)];
/// That room until the plugin asks for it; -1 afterwards.
static ROOM: AtomicI32 = AtomicI32::new(-1);

/// Files that the C library reads on its own account: for the number of processors, and when it gives memory back. It
/// is told that there are none and does without.
const OF_THE_C_LIBRARY: [&[u8]; 3] =
    [b"/sys/devices/system/cpu/online\0", b"/proc/stat\0", b"/proc/sys/vm/overcommit_memory\0"];
/// How the file of a descriptor is named.
const DESCRIPTOR: &[u8] = b"/proc/self/fd/";

/// Sets where the host is told.
pub(super) fn report_to(pipe: i32) {
    PIPE.store(pipe, Ordering::Relaxed);
}

/// Lets the dynamic loader have the plugin's file, and the plugin one file of its own, made before; it answers the
/// plugin's first `memfd_create`. Nothing else can be opened.
pub(super) fn lend(plugin: i32, room: i32) {
    LIBRARIES[0].store(plugin, Ordering::Relaxed);
    LIBRARIES[1].store(room, Ordering::Relaxed);
    ROOM.store(room, Ordering::Relaxed);
}

/// The registers of an interrupted system call.
struct Call<'a>(&'a mut libc::ucontext_t);

#[cfg(target_arch = "x86_64")]
impl Call<'_> {
    fn argument(&self, number: usize) -> i64 {
        let registers = [libc::REG_RDI, libc::REG_RSI, libc::REG_RDX, libc::REG_R10];
        self.0.uc_mcontext.gregs[registers[number] as usize]
    }

    fn answer(&mut self, result: i64) {
        self.0.uc_mcontext.gregs[libc::REG_RAX as usize] = result;
    }
}

#[cfg(target_arch = "aarch64")]
impl Call<'_> {
    fn argument(&self, number: usize) -> i64 {
        self.0.uc_mcontext.regs[number].cast_signed()
    }

    fn answer(&mut self, result: i64) {
        self.0.uc_mcontext.regs[0] = result.cast_unsigned();
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
impl Call<'_> {
    fn argument(&self, _: usize) -> i64 {
        0
    }

    fn answer(&mut self, _: i64) {}
}

/// Whether the text at `at` is `name`, which ends in 0.
fn is(at: *const u8, name: &[u8]) -> bool {
    // SAFETY: reads no farther than the first byte that differs, as the system itself would have.
    name.iter().enumerate().all(|(offset, &byte)| unsafe { *at.add(offset) } == byte)
}

/// The number in `/proc/self/fd/NUMBER`.
fn descriptor(at: *const u8) -> Option<i32> {
    if !is(at, DESCRIPTOR) {
        return None;
    }
    let mut number = 0;
    for offset in DESCRIPTOR.len()..DESCRIPTOR.len() + 4 {
        // SAFETY: as above: the text goes on, as it has not ended.
        match unsafe { *at.add(offset) } {
            0 => return (offset > DESCRIPTOR.len()).then_some(number),
            digit @ b'0'..=b'9' => number = number * 10 + i32::from(digit - b'0'),
            _ => return None,
        }
    }
    None
}

/// A system call whose error is its result, as the system itself says it.
fn ask(call: i64, arguments: [i64; 3]) -> i64 {
    // SAFETY: `dup`, `lseek` and `fstat` on what the interrupted code named; the system checks.
    let result = unsafe { libc::syscall(call, arguments[0], arguments[1], arguments[2]) };
    if result == -1 { -i64::from(std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)) } else { result }
}

/// What is answered instead of a call: to the C library about the machine, to the dynamic loader the files that were
/// lent, and to a plugin that brings a library with it the one file that was made for it.
fn answer(number: i32, call: &Call<'_>) -> Option<i64> {
    let path = call.argument(1) as *const u8;
    match i64::from(number) {
        libc::SYS_openat if !path.is_null() => {
            if OF_THE_C_LIBRARY.into_iter().any(|name| is(path, name)) {
                return Some(-i64::from(libc::ENOENT));
            }
            let wanted = descriptor(path)?;
            let lent = LIBRARIES.iter().any(|lent| lent.load(Ordering::Relaxed) == wanted);
            // A copy of a descriptor stands where the other does; who opens a file reads it from the start.
            lent.then(|| {
                ask(libc::SYS_lseek, [wanted.into(), 0, libc::SEEK_SET.into()]);
                ask(libc::SYS_dup, [wanted.into(), 0, 0])
            })
        }
        // How the C library asks about a file that it has opened.
        libc::SYS_newfstatat
            if !path.is_null() && is(path, b"\0") && call.argument(3) == i64::from(libc::AT_EMPTY_PATH) =>
        {
            Some(ask(libc::SYS_fstat, [call.argument(0), call.argument(2), 0]))
        }
        libc::SYS_memfd_create => {
            let room = ROOM.swap(-1, Ordering::Relaxed);
            (room >= 0).then_some(room.into())
        }
        _ => None,
    }
}

/// Runs inside the offending call, so only what is safe there: an answer, or one write and the end.
extern "C" fn forbidden(_: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the system hands in a valid structure; for SIGSYS the number of the call stands behind an address, in
    // the order of `siginfo_t`: signal, errno, code, padding, address, call.
    let number = unsafe { info.cast::<u8>().add(24).cast::<i32>().read_unaligned() };
    // SAFETY: the system hands the registers of the interrupted call to handlers of this kind, and nobody else has
    // them.
    let mut call = Call(unsafe { &mut *context.cast::<libc::ucontext_t>() });
    // SAFETY: every thread has its own.
    let errno = unsafe { *libc::__errno_location() };
    if let Some(result) = answer(number, &call) {
        call.answer(result);
        // SAFETY: as above.
        unsafe { *libc::__errno_location() = errno };
        return;
    }
    let mut line = *b"\n{\"Forbidden\":{\"call\":00000}}\n";
    let mut rest = number.clamp(0, 99_999);
    // Leading zeros are no JSON, so the number is written over blanks.
    for at in (0..5).rev() {
        let digit = (rest % 10) as u8;
        line[22 + at] = if rest == 0 && at < 4 { b' ' } else { b'0' + digit };
        rest /= 10;
    }
    // SAFETY: writes bytes that are there. The second call is forbidden, too, and made while its signal is blocked,
    // which ends the process by that very signal: so the host knows even where its pipe was closed.
    unsafe {
        libc::write(PIPE.load(Ordering::Relaxed), line.as_ptr().cast(), line.len());
        libc::syscall(libc::SYS_getppid);
        libc::_exit(1);
    }
}

/// Begins to handle forbidden calls.
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
