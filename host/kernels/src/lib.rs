//! The linear algebra that strategies call, on the CPU.
