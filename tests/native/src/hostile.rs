//! What isolated plugins may not do, done anyway, as far below the SDK as it goes.

use std::ffi::c_void;
use std::io::Write;
use std::time::Duration;

use libc::{c_int, c_long};

/// A marker in an array that a test hands in and nobody declares.
const SECRET: f32 = 123_456.79;

/// Descriptors that may be the worker's pipe.
fn pipes() -> Vec<c_int> {
    let is_pipe = |fd: &c_int| {
        // SAFETY: a zeroed structure is valid, and the system fills it.
        unsafe {
            let mut stat: libc::stat = std::mem::zeroed();
            libc::fstat(*fd, &raw mut stat) == 0 && stat.st_mode & libc::S_IFMT == libc::S_IFIFO
        }
    };
    (3..64).filter(is_pipe).collect()
}

/// Writes all of it, or as much as is taken.
fn write(fd: c_int, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        // SAFETY: the bytes are there; the system checks the descriptor.
        match unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) } {
            written @ 1.. => bytes = &bytes[written as usize..],
            _ => return,
        }
    }
}

/// Writes to the host as the worker itself does.
pub fn say(text: &str) {
    for pipe in pipes() {
        write(pipe, text.as_bytes());
    }
}

pub fn hang() -> ! {
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}

/// Says the same for a long time.
pub fn flood(line: &str, times: usize) {
    let block = line.repeat(1000);
    for _ in 0..times / 1000 {
        say(&block);
    }
}

/// A line that never ends.
pub fn long_line() {
    for _ in 0..1024 {
        say(&"x".repeat(1 << 20));
    }
}

/// Closes whatever the host may listen to.
pub fn close_pipe() {
    for pipe in pipes() {
        // SAFETY: the worker's own, which is the point.
        unsafe { libc::close(pipe) };
    }
}

/// Writes to every descriptor that may have been left open. An empty line is no harm to the host's own.
pub fn write_everywhere() {
    for fd in 3..1000 {
        write(fd, b"\n");
    }
}

/// Prints so many mebibytes.
pub fn print(mebibytes: usize) {
    let block = vec![b'x'; 1 << 20];
    for _ in 0..mebibytes {
        std::io::stdout().write_all(&block).expect("it can be printed");
    }
}

/// Keeps as much as it can in memory that belongs to no address space.
pub fn memory_files() {
    let block = vec![1u8; 1 << 20];
    loop {
        // SAFETY: makes a file with a name that ends in 0.
        let file = unsafe { libc::memfd_create(c"hoard".as_ptr(), 0) };
        assert!(file >= 0, "no memory file");
        // Each is small enough for the limit on files.
        for _ in 0..32 {
            write(file, &block);
        }
    }
}

/// Keeps as much as it can in memory that could be shared.
pub fn shared_memory() {
    loop {
        let bytes = 64 << 20;
        // SAFETY: new memory, of which each page is touched.
        unsafe {
            let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
            let at = libc::mmap(std::ptr::null_mut(), bytes, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0);
            assert!(at != libc::MAP_FAILED, "no more memory");
            at.cast::<u8>().write_bytes(1, bytes);
        }
    }
}

/// Starts thread after thread, each with a small stack. Not by the standard library, whose threads panic, and are then
/// stopped for what they say, where there is no room left for their signal stacks.
pub fn threads() {
    extern "C" fn sleep_on(_: *mut c_void) -> *mut c_void {
        hang()
    }
    for _ in 0..20_000 {
        // SAFETY: the attributes are made before they are used, and the threads touch nothing.
        let failed = unsafe {
            let (mut attributes, mut thread) = (std::mem::zeroed(), std::mem::zeroed());
            libc::pthread_attr_init(&raw mut attributes);
            libc::pthread_attr_setstacksize(&raw mut attributes, 16 << 10);
            libc::pthread_create(&raw mut thread, &raw const attributes, sleep_on, std::ptr::null_mut())
        };
        // No address space for more.
        if failed != 0 {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn socket() -> c_int {
    // SAFETY: asks for a socket.
    unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0) }
}

/// Wants to be told itself of forbidden calls.
pub fn handle_signal() {
    // SAFETY: an empty structure, with the number of the system's own way to leave signals out. Both forms: the system
    // looks at the lower half of a number only.
    unsafe {
        let ignore: [u64; 4] = [libc::SIG_IGN as u64, 0, 0, 0];
        for number in [libc::SIGSYS as c_long | (1 << 32), libc::SIGSYS as c_long] {
            libc::syscall(libc::SYS_rt_sigaction, number, ignore.as_ptr(), std::ptr::null_mut::<u64>(), 8);
        }
    }
    socket();
}

/// Lets nobody be told of forbidden calls.
pub fn block_signal() {
    // SAFETY: an empty set to which one signal is added.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigaddset(&raw mut set, libc::SIGSYS);
        libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
    }
    socket();
}

/// Makes a forbidden call after the host's pipe was closed.
pub fn unheard() {
    close_pipe();
    socket();
}

/// A thread in a user namespace of its own.
pub fn namespace() {
    let flags = libc::CLONE_VM | libc::CLONE_SIGHAND | libc::CLONE_THREAD | libc::CLONE_FS | libc::CLONE_NEWUSER;
    // SAFETY: the system refuses these flags, whoever asks.
    unsafe { libc::syscall(libc::SYS_clone, flags as c_long, 0, 0, 0, 0) };
}

/// A system call without arguments.
pub fn call(number: u32) {
    // SAFETY: none; whatever it does is done to a worker.
    unsafe { libc::syscall(c_long::from(number), 0, 0, 0, 0, 0, 0) };
}

/// A system call as programs of 32 bits make it: `getpid`, which has another number there.
pub fn old_call() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: it takes nothing and answers with a number.
    unsafe {
        std::arch::asm!("int 0x80", inout("rax") 20 => _);
    }
    #[cfg(not(target_arch = "x86_64"))]
    socket();
}

/// Wants to outlive the host.
pub fn outlive() {
    // SAFETY: sets one property of this process.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, 0 as libc::c_ulong) };
}

/// Panics if anybody had signals ignored or blocked.
pub fn signals() {
    for signal in (1..32).filter(|&signal| signal != libc::SIGSYS) {
        // SAFETY: zeroed structures are valid, and the system fills them.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            libc::sigaction(signal, std::ptr::null(), &raw mut action);
            assert!(action.sa_sigaction != libc::SIG_IGN, "signal {signal} is ignored");
            let mut mask: libc::sigset_t = std::mem::zeroed();
            libc::sigprocmask(libc::SIG_BLOCK, std::ptr::null(), &raw mut mask);
            assert!(libc::sigismember(&raw const mask, signal) != 1, "signal {signal} is blocked");
        }
    }
}

/// Bytes of the job from a place on.
fn job(at: i64, bytes: &mut [u8]) -> usize {
    // SAFETY: there is room for as many bytes.
    let read = unsafe { libc::pread(0, bytes.as_mut_ptr().cast(), bytes.len(), at) };
    usize::try_from(read).unwrap_or(0)
}

/// Panics if the job has the secret anywhere.
pub fn peek() {
    // The job has this library, too, in which the secret itself must not stand.
    let wanted = !std::hint::black_box(!SECRET.to_bits());
    let (mut at, mut block) = (0, vec![0; 1 << 20]);
    loop {
        let read = job(at, &mut block);
        assert!(read > 0 || at > 0, "the job cannot be read");
        if read == 0 {
            return;
        }
        let found = block[..read].chunks_exact(4).any(|value| *value == wanted.to_ne_bytes());
        assert!(!found, "the secret is in the job");
        at += read as i64;
    }
}

/// What runs while this library is loaded. Does nothing unless the job's parameters say so, so not where it is packed.
extern "C" fn at_load() {
    let mut start = vec![0; 64 << 10];
    let read = job(0, &mut start);
    // Inside the parameters, which are a text in a text, quotes have a backslash before them; in the schema they have
    // none.
    let is_told = |how: &str| {
        let how = format!("{how}\\");
        start[..read].windows(how.len()).any(|window| window == how.as_bytes())
    };
    if is_told("load-forge") {
        say("{\"Needs\":{\"needs\":[\"oracle.labels\"]}}\n");
        // SAFETY: ends the process without running anything.
        unsafe { libc::_exit(0) };
    } else if is_told("load-hang") {
        hang();
    } else if is_told("load-memory-file") {
        memory_files();
    } else if is_told("load-file") {
        // A folder that the system's libraries lie in.
        drop(std::fs::File::open("/usr/lib/os-release"));
    } else if is_told("load-filter") {
        // SAFETY: asks for a filter without giving one.
        unsafe { libc::syscall(libc::SYS_seccomp, 1, 0, 0) };
    }
}

#[used]
#[unsafe(link_section = ".init_array")]
static AT_LOAD: extern "C" fn() = at_load;
