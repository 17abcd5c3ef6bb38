//! Native packages in a worker process that can reach nothing.
//!
//! The worker gets one read-only memory file with the job: the artifact, the parameters and the arrays that its needs
//! settle on, and no more. Before any plugin code is loaded it closes what it inherited, and gives up files (landlock),
//! all system calls but those of arithmetic and threads (seccomp) and large memory (limits of the system). It answers
//! on one pipe.
//!
//! From then on the host believes nothing that comes from there. Rights and needs are those of the package's
//! description, which was written when it was packed; memory, threads and time are measured from outside; what is said
//! is bounded before it is read, and cleaned before it is shown.

mod birth;
mod cage;
mod job;
mod listen;
mod outcome;
mod said;
pub mod strategy;
mod trap;
mod watch;
mod worker;

#[doc(hidden)]
pub use said::{Bounds, hear_anything};
pub use worker::main as worker_main;
