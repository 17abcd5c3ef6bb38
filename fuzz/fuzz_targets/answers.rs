#![no_main]
// The reader of Parquet panics at some damage, which is caught: a panic ends the run only where it is not, and says no
// more than what it is, because traces take seconds.
libfuzzer_sys::fuzz_target!(
    init: std::panic::set_hook(Box::new(|panic| eprintln!("{panic}"))),
    |data: &[u8]| querist_fuzz_targets::answers(data)
);
