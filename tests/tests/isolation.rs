//! Isolated plugins that do their worst: what they reach, what they take, what they say, and when they end.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use querist_data::arrays::write_npy;
use querist_tests::cli::program;
use querist_tests::native::{Packed, ROWS};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

const MISBEHAVE: &str = "native-misbehave";
/// As in the fixture.
const SECRET: f32 = 123_456.79;

/// Arguments for one way to misbehave, under a small limit on memory.
fn how(param: &str) -> [&str; 5] {
    ["--isolate", "--param", param, "--memory", "64MiB"]
}

/// First rows, in order: what the fixture picks where it gets so far.
fn first_rows() -> serde_json::Value {
    json!((0..40).collect::<Vec<u32>>())
}

#[test]
fn whoever_misbehaves_is_stopped_and_told_by_name() {
    let packed = Packed::new();
    for (way, words) in [
        ("print-much", &["printed more than 64 MiB"][..]),
        ("memory-file", &["tried to make shared memory"]),
        ("shared-memory", &["memory"]),
        ("threads", &["threads at once"]),
        ("handle-signal", &["tried to handle the signal that reports forbidden system calls"]),
        ("block-signal", &["forbidden system call", "was stopped"]),
        ("unheard", &["forbidden system call", "was stopped"]),
        ("old-call", &["forbidden system call", "was stopped"]),
        ("namespace", &["tried to start a process"]),
        ("outlive", &["tried to change how the system treats it"]),
        ("long-line", &["wrote to the pipe", "a line of more than 65536 bytes"]),
        ("nonsense", &["wrote to the pipe", "[31mhello"]),
        ("claim-cancelled", &["gone", "run curl"]),
        ("claim-timeout", &["so it says"]),
        ("claim-rows", &["an answer with 1000000000000 rows of a pool of 700"]),
        ("close-pipe", &["closed the pipe"]),
        ("load-memory-file", &["tried to make shared memory"]),
        ("load-file", &["tried to open a file"]),
        ("load-filter", &["tried to change how the system treats it"]),
    ] {
        let param = format!("how={way}");
        let words = [&["native-misbehave", "native-fixture 0.1.0"], words].concat();
        let said = packed.refused(MISBEHAVE, &how(&param), 1, &words);
        let lie =
            ["out of memory", "obey", "cancelled", "time limit", "\u{1b}"].into_iter().find(|lie| said.contains(lie));
        assert_eq!(lie, None, "{way}: {said}");
    }
}

#[test]
fn whatever_reaches_beyond_the_process_is_forbidden() {
    use libc::*;
    let packed = Packed::new();
    let calls = [
        // Memory that no limit on address space counts, and buffers of the system.
        SYS_shmget,
        SYS_shmat,
        SYS_semget,
        SYS_msgget,
        SYS_mq_open,
        SYS_memfd_secret,
        SYS_pipe2,
        SYS_eventfd2,
        SYS_socketpair,
        SYS_ftruncate,
        SYS_fallocate,
        SYS_fcntl,
        SYS_ioctl,
        SYS_vmsplice,
        SYS_splice,
        SYS_sendfile,
        SYS_mlock,
        SYS_userfaultfd,
        // Files, by whatever way.
        SYS_openat2,
        SYS_open_by_handle_at,
        SYS_name_to_handle_at,
        SYS_statx,
        SYS_readlinkat,
        SYS_faccessat2,
        SYS_getcwd,
        SYS_chdir,
        SYS_inotify_init1,
        SYS_fanotify_init,
        // Others, and the system.
        SYS_execve,
        SYS_execveat,
        SYS_kill,
        SYS_ptrace,
        SYS_process_vm_readv,
        SYS_pidfd_open,
        SYS_get_robust_list,
        SYS_kcmp,
        SYS_connect,
        SYS_bind,
        SYS_sendmsg,
        SYS_recvmsg,
        SYS_unshare,
        SYS_setns,
        SYS_mount,
        SYS_chroot,
        SYS_bpf,
        SYS_perf_event_open,
        SYS_keyctl,
        SYS_add_key,
        SYS_io_uring_setup,
        SYS_io_setup,
        SYS_init_module,
        SYS_reboot,
        // What it is itself.
        SYS_seccomp,
        SYS_landlock_create_ruleset,
        SYS_prctl,
        SYS_setrlimit,
        SYS_setpriority,
        SYS_sched_setaffinity,
        SYS_sched_setscheduler,
        SYS_personality,
        SYS_setuid,
        SYS_capset,
        SYS_setsid,
        SYS_timer_create,
        SYS_setitimer,
        SYS_close_range,
    ];
    for call in calls {
        let call = format!("call={call}");
        let more = [&how("how=call")[..], &["--param", &call]].concat();
        packed.refused(MISBEHAVE, &more, 1, &["which isolated plugins may not, and was stopped"]);
    }
}

#[test]
fn whoever_talks_too_much_but_answers_well_is_heard() {
    let packed = Packed::new();
    for way in ["print", "descriptors", "signals", "peek", "progress", "forged-log"] {
        let said = packed.select(MISBEHAVE, &how(&format!("how={way}")));
        assert_eq!(said.code, Some(0), "{way}: {}", said.err);
        let answer: serde_json::Value = serde_json::from_str(&said.out).unwrap();
        assert_eq!(answer["rows"], first_rows(), "{way}");
        assert!(said.err.len() < 1 << 20 && !said.err.contains('\u{1b}'), "{way}: {} bytes", said.err.len());
        assert_eq!(said.err.contains("its log is full"), way == "forged-log", "{way}");
    }
}

#[test]
fn needs_come_from_the_package_and_a_worker_can_only_narrow_them() {
    let packed = Packed::new();
    let place = &packed.place;
    write_npy(&place.at("oracle.npy"), &[ROWS], &vec![1u32; ROWS]).unwrap();
    let values = vec![0.5f32; ROWS * 4];
    write_npy(&place.at("penultimate.npy"), &[ROWS, 4], &values).unwrap();
    let oracle = ["--input", "oracle.labels=oracle.npy"];
    for (way, array) in [("greedy", "embeddings"), ("load-forge", "oracle.labels")] {
        let asks = format!("asks for `{array}`, which its package does not state");
        let words = [asks.as_str(), "`logits` under `needs`", "`penultimate` under `may_need`"];
        packed.refused(MISBEHAVE, &[&how(&format!("how={way}"))[..], &oracle].concat(), 1, &words);
    }
    let stated = ["--input", "penultimate=penultimate.npy"];
    assert_eq!(packed.picks(MISBEHAVE, &[&how("how=modest")[..], &stated].concat()).0, first_rows());
}

#[test]
fn arrays_that_were_not_declared_do_not_cross() {
    let packed = Packed::new();
    write_npy(&packed.place.at("secret.npy"), &[ROWS, 4], &vec![SECRET; ROWS * 4]).unwrap();
    for name in ["penultimate", "embeddings"] {
        let input = format!("{name}=secret.npy");
        let picks = packed.picks(MISBEHAVE, &[&how("how=peek")[..], &["--input", &input]].concat());
        assert_eq!(picks.0, first_rows(), "{name}");
    }
    // Where it is declared it is found, so the plugin looks in the right place.
    write_npy(&packed.place.at("logits.npy"), &[ROWS, 4], &vec![SECRET; ROWS * 4]).unwrap();
    packed.refused(MISBEHAVE, &how("how=peek"), 1, &["the secret is in the job"]);
}

#[test]
fn files_that_the_host_has_open_are_out_of_reach() {
    let packed = Packed::new();
    let path = packed.place.write("mine.txt", "mine");
    let file = File::options().append(true).open(&path).unwrap();
    let mut command = packed.place.command(&Packed::args(MISBEHAVE, &how("how=descriptors")));
    let (fd, high) = (file.as_raw_fd(), 900);
    // SAFETY: between fork and exec only two system calls are made.
    unsafe {
        command.pre_exec(move || {
            // Copies are inherited, unlike the file itself.
            if libc::dup2(fd, high) < 0 || libc::dup(fd) < 0 {
                return Err(std::io::Error::last_os_error());
            }
            Ok(())
        });
    }
    let said = packed.place.said(&command.output().unwrap());
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
}

#[test]
fn signals_that_somebody_had_ignored_are_not_for_a_worker() {
    let packed = Packed::new();
    let command = packed.place.command(&[]);
    let script = "trap '' HUP TERM XCPU USR1 ABRT; exec \"$0\" \"$@\"";
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", script]).arg(program()).args(Packed::args(MISBEHAVE, &how("how=signals")));
    shell.current_dir(packed.place.path()).env_clear();
    shell.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let said = packed.place.said(&shell.output().unwrap());
    assert_eq!(said.code, Some(0), "{}", said.err);
}

/// The processes that `parent` started.
fn children(parent: u32) -> Vec<Pid> {
    let wanted = format!("PPid:\t{parent}\n");
    let is_child = |pid: &i32| fs::read_to_string(format!("/proc/{pid}/status")).is_ok_and(|s| s.contains(&wanted));
    let all = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    all.filter(is_child).filter_map(Pid::from_raw).collect()
}

/// Whether it runs: neither gone nor waiting to be forgotten.
fn is_running(process: Pid) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/status", process.as_raw_nonzero()));
    status.is_ok_and(|status| !status.contains("State:\tZ") && !status.contains("State:\tX"))
}

#[track_caller]
fn wait_until(what: &str, mut ready: impl FnMut() -> bool) {
    let clock = Instant::now();
    while !ready() {
        assert!(clock.elapsed() < Duration::from_secs(60), "{what}: nothing happens");
        sleep(Duration::from_millis(5));
    }
}

/// Starts a call and waits for a worker that stays: one that hangs in its plugin, past its own first steps.
fn start(packed: &Packed, args: &[&str]) -> (Child, Pid) {
    let mut command = packed.place.command(args);
    let host = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut worker = None;
    wait_until("a worker", || {
        worker = children(host.id()).first().copied();
        sleep(Duration::from_secs(1));
        worker.is_some_and(is_running)
    });
    (host, worker.unwrap())
}

#[test]
fn a_worker_dies_with_its_host() {
    let packed = Packed::new();
    for way in ["load-hang", "hang"] {
        let param = format!("how={way}");
        let more = [&how(&param)[..], &["--seconds", "300"]].concat();
        let (mut host, worker) = start(&packed, &Packed::args(MISBEHAVE, &more));
        assert!(is_running(worker), "{way}");
        host.kill().unwrap();
        host.wait().unwrap();
        wait_until("the end of the worker", || !is_running(worker));
    }
}

#[test]
fn a_worker_keeps_its_time_while_it_is_loaded() {
    let packed = Packed::new();
    let words = ["time limit of 1 s", "--seconds"];
    packed.refused(MISBEHAVE, &[&how("how=load-hang")[..], &["--seconds", "1"]].concat(), 1, &words);
}

#[test]
fn a_wish_to_stop_is_granted_while_a_plugin_is_loaded() {
    let packed = Packed::new();
    let run = r#"version = 1
dataset = { name = "digits", test = 397 }
model = { name = "mlp" }
budget = { initial = 20, batch = 10, rounds = 1 }
strategy = { id = "native-misbehave", params = { how = "load-hang" } }
"#;
    packed.place.write("run.toml", run);
    let args = ["run", "run.toml", "--out", "r", "--plugin-dir", "packed", "--isolate"];
    let (host, worker) = start(&packed, &args);
    kill_process(Pid::from_raw(host.id().cast_signed()).unwrap(), Signal::INT).unwrap();
    let said = packed.place.said(&host.wait_with_output().unwrap());
    // Not the time limit, which would have ended it later.
    assert!(said.err.contains("cancelled") && !said.err.contains("time limit"), "{}", said.err);
    assert!(!is_running(worker));
}

#[test]
fn a_plugin_may_bring_a_library_with_it() {
    let packed = Packed::new();
    let ask = |how: &str| {
        let mut args = vec!["select", "--strategy", "core-set", "--budget", "10", "--format", "json", how];
        args.extend(["--input", "embeddings=embeddings.npy", "--input", "labelled.embeddings=labelled.npy"]);
        let answer: serde_json::Value = serde_json::from_str(&packed.place.good(&args)).unwrap();
        answer["rows"].clone()
    };
    assert_eq!(ask("--isolate"), ask("--allow-native"));
}
