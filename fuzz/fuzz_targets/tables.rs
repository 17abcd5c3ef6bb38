#![no_main]
// The reader of Parquet panics at some damage, which is caught: a panic ends the run only where it is not.
libfuzzer_sys::fuzz_target!(init: drop(std::panic::take_hook()), |data: &[u8]| querist_fuzz_targets::tables(data));
