//! Pools in shards: what a strategy picks hangs neither on the number of files nor on that of parts.

use std::fs;
use std::process::Stdio;

use querist_data::arrays::write_npy;
use querist_protocol::philox::Stream;
use querist_tests::cli::Place;
use serde_json::{Value, json};

/// Enough that no block and no task has all rows.
const ROWS: usize = 9000;
const CLASSES: usize = 5;
const WIDTH: usize = 24;
const DRAWS: usize = 3;

/// A value of a row that both 16 and 32 bits hold.
fn value(key: u64, row: usize, column: usize) -> f32 {
    let item = (row % (ROWS - 40)) as u64 * 1000 + column as u64;
    (Stream::new(key, 0).item_uniform(item, 0) * 4096.0).round() as f32 / 1024.0 - 2.0
}

/// Half-precision bits of a number that has few bits.
fn half(value: f32) -> u16 {
    let bits = value.to_bits();
    let (sign, exponent, fraction) = (bits >> 16 & 0x8000, bits >> 23 & 0xff, bits & 0x7f_ffff);
    if exponent == 0 {
        return sign as u16;
    }
    assert!(fraction & 0x1fff == 0 && (113..=142).contains(&exponent), "{value} has more bits");
    (sign | (exponent - 112) << 10 | fraction >> 13) as u16
}

/// Coarser, so that 16 bits are enough.
fn coarse(value: f32) -> f32 {
    (value * 256.0).round() / 256.0
}

fn write_half(
    place: &Place,
    name: &str,
    rows: std::ops::Range<usize>,
    row_shape: &[usize],
    of: impl Fn(usize, usize) -> f32,
) {
    let width: usize = row_shape.iter().product();
    let shape: String =
        std::iter::once(rows.len()).chain(row_shape.iter().copied()).map(|n| format!("{n}, ")).collect();
    let text = format!("{{'descr': '<f2', 'fortran_order': False, 'shape': ({shape}), }}");
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend(118u16.to_le_bytes());
    file.extend(format!("{text:<117}\n").bytes());
    file.extend(
        rows.flat_map(|row| (0..width).map(move |c| (row, c))).flat_map(|(row, c)| half(of(row, c)).to_le_bytes()),
    );
    place.write(name, file);
}

fn embedding(row: usize, column: usize) -> f32 {
    coarse(value(1, row, column))
}

fn logit(row: usize, column: usize) -> f32 {
    coarse(value(2, row, column))
}

/// The logarithm of a probability: two classes are equal or far apart, so that they sum to 1 in 16 bits.
fn log_prob(row: usize, at: usize) -> f32 {
    let (draw, class) = (at / CLASSES, at % CLASSES);
    let sure = (Stream::new(3, 0).item_uniform((row * DRAWS + draw) as u64, 0) * CLASSES as f64) as usize;
    if class == sure { 0.0 } else { -16.0 }
}

/// Whole arrays in files of 32 bits, and shards of 16: `FILE-i-of-n.npy` for n of 1, 2 and 5.
fn place() -> Place {
    let place = Place::new();
    type Values = fn(usize, usize) -> f32;
    let arrays: [(&str, &[usize], Values); 3] =
        [("embeddings", &[WIDTH], embedding), ("logits", &[CLASSES], logit), ("mc", &[DRAWS, CLASSES], log_prob)];
    for (name, row_shape, of) in arrays {
        let width: usize = row_shape.iter().product();
        let whole: Vec<f32> = (0..ROWS * width).map(|at| of(at / width, at % width)).collect();
        let shape: Vec<usize> = std::iter::once(ROWS).chain(row_shape.iter().copied()).collect();
        write_npy(&place.at(&format!("{name}.npy")), &shape, &whole).unwrap();
        for count in [1, 2, 5] {
            for shard in 0..count {
                // The first shard is short.
                let start = |shard: usize| if shard == 0 { 0 } else { ROWS * shard / count - 100 * (count - shard) };
                let file = format!("{name}-{}-of-{count}.npy", shard + 1);
                write_half(&place, &file, start(shard)..start(shard + 1), row_shape, of);
            }
        }
    }
    let labelled: Vec<f32> = (0..60 * WIDTH).map(|at| coarse(value(4, at / WIDTH, at % WIDTH))).collect();
    write_npy(&place.at("labelled.npy"), &[60, WIDTH], &labelled).unwrap();
    place
}

/// What is picked, without what it cost.
fn picked(text: &str) -> Value {
    let value: Value = serde_json::from_str(text).unwrap();
    let keys = ["strategy", "digest", "budget", "seed", "rows", "ids", "scores"];
    keys.iter().map(|key| (*key, value[key].clone())).collect()
}

fn select(place: &Place, strategy: &str, inputs: &[&str], more: &[&str]) -> Value {
    let inputs = inputs.iter().flat_map(|input| ["--input", input]);
    let args: Vec<&str> =
        ["select", "--strategy", strategy, "--seed", "5", "--format", "json"].into_iter().chain(inputs).collect();
    picked(&place.good(&[&args[..], more].concat()))
}

#[test]
fn strategies_pick_the_same_from_any_number_of_shards() {
    let place = place();
    let embeddings = ("embeddings=embeddings.npy", "embeddings=embeddings-*-of-N.npy");
    let logits = ("logits=logits.npy", "logits=logits-*-of-N.npy");
    let labelled = ("labelled.embeddings=labelled.npy", "labelled.embeddings=labelled.npy");
    for (strategy, inputs, more) in [
        ("margin", &[logits][..], &["--budget", "50"][..]),
        ("power-entropy", &[logits], &["--budget", "50"]),
        ("softrank-margin", &[logits], &["--budget", "50"]),
        ("k-center-greedy", &[embeddings], &["--budget", "40"]),
        ("k-center-greedy", &[embeddings, labelled], &["--budget", "40", "--param", "metric=cosine"]),
        ("badge", &[logits, embeddings], &["--budget", "30"]),
        ("kmeans", &[embeddings], &["--budget", "25", "--param", "n_init=2"]),
        ("accu-kmeans", &[embeddings, labelled], &["--budget", "25", "--param", "n_init=1"]),
        ("typiclust", &[embeddings, labelled], &["--budget", "20"]),
        // A kernel that needs all rows at once takes them into memory.
        ("probcover", &[embeddings], &["--budget", "10"]),
    ] {
        let whole: Vec<&str> = inputs.iter().map(|(whole, _)| *whole).collect();
        let expected = select(&place, strategy, &whole, more);
        assert_eq!(expected["rows"].as_array().unwrap().len(), more[1].parse::<usize>().unwrap());
        for count in ["1", "2", "5"] {
            let shards: Vec<String> = inputs.iter().map(|(_, shards)| shards.replace('N', count)).collect();
            let shards: Vec<&str> = shards.iter().map(String::as_str).collect();
            assert_eq!(select(&place, strategy, &shards, more), expected, "{strategy} of {count} shards");
        }
    }
}

#[test]
fn ids_in_any_order_and_a_subset() {
    let place = place();
    let ids: Vec<u64> = (0..ROWS as u64).map(|row| row * 7919 % ROWS as u64 + (1 << 40)).collect();
    write_npy(&place.at("ids.npy"), &[ROWS], &ids).unwrap();
    let more = ["--budget", "30", "--ids", "ids.npy", "--subset-size", "5000"];
    let inputs = ["embeddings=embeddings.npy", "logits=logits.npy"];
    let shards = ["embeddings=embeddings-*-of-5.npy", "logits=logits-*-of-2.npy"];
    for strategy in ["badge", "margin", "k-center-greedy"] {
        assert_eq!(select(&place, strategy, &shards, &more), select(&place, strategy, &inputs, &more), "{strategy}");
    }
}

/// Scores a pool in parts, then merges them in another order.
fn in_parts(place: &Place, parts: usize, strategy: &str, inputs: &[&str], more: &[&str]) -> Value {
    let mut files = Vec::new();
    for part in 1..=parts {
        let (shard, file) = (format!("{part}/{parts}"), format!("part-{part}.safetensors"));
        let inputs = inputs.iter().flat_map(|input| ["--input", input]);
        let args: Vec<&str> = ["score", "--strategy", strategy, "--seed", "5", "--shard", &shard, "--out", &file]
            .into_iter()
            .chain(inputs)
            .collect();
        assert_eq!(place.good(&[&args[..], more].concat()), "");
        files.insert(0, file);
    }
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    picked(&place.good(&[&["merge", "--format", "json"][..], &files].concat()))
}

#[test]
fn parts_merge_into_what_one_process_picks() {
    let place = place();
    let ids: Vec<u64> = (0..ROWS as u64).map(|row| row * 7919 % ROWS as u64).collect();
    write_npy(&place.at("ids.npy"), &[ROWS], &ids).unwrap();
    let logits = ("logits=logits.npy", "logits=logits-*-of-2.npy");
    let mc = ("mc_log_probs=mc.npy", "mc_log_probs=mc-*-of-5.npy");
    for (strategy, (whole, shards), more) in [
        ("margin", logits, &["--budget", "70"][..]),
        ("entropy", logits, &["--budget", "70", "--ids", "ids.npy"]),
        ("power-margin", logits, &["--budget", "70"]),
        ("power-bald", mc, &["--budget", "70", "--param", "T=3"]),
        ("softmax-entropy", logits, &["--budget", "70", "--ids", "ids.npy"]),
        ("softrank-margin", logits, &["--budget", "70", "--param", "beta=3"]),
        ("softrank-entropy", logits, &["--budget", "70", "--ids", "ids.npy"]),
        ("softrank-least-confidence", logits, &["--budget", "70"]),
        ("random", ("logits=logits.npy", "logits=logits-*-of-2.npy"), &["--budget", "9000"]),
    ] {
        let expected = select(&place, strategy, &[whole], more);
        for parts in [1, 2, 5] {
            assert_eq!(in_parts(&place, parts, strategy, &[shards], more), expected, "{strategy} in {parts} parts");
        }
    }
}

#[test]
fn ids_may_be_texts() {
    let place = place();
    let ids: String = (0..ROWS).map(|row| format!("pool/{row:05}, a.jpg\n")).collect();
    place.write("ids.txt", &ids);
    let more = ["--budget", "12", "--ids", "ids.txt"];
    let plain = select(&place, "power-margin", &["logits=logits.npy"], &["--budget", "12"]);
    let named = select(&place, "power-margin", &["logits=logits-*-of-2.npy"], &more);
    assert_eq!(named["rows"], plain["rows"]);
    let of = |row: &Value| json!(format!("pool/{:05}, a.jpg", row.as_u64().unwrap()));
    assert_eq!(named["ids"], named["rows"].as_array().unwrap().iter().map(of).collect::<Value>());
    for strategy in ["power-margin", "softrank-margin"] {
        let whole = select(&place, strategy, &["logits=logits.npy"], &more);
        assert_eq!(in_parts(&place, 3, strategy, &["logits=logits-*-of-5.npy"], &more), whole, "{strategy}");
    }
    let lines = place.good(&["merge", "part-1.safetensors,part-2.safetensors", "part-3.safetensors", "--budget", "2"]);
    assert!(lines.lines().all(|line| line.starts_with("pool/")) && lines.lines().count() == 2, "{lines}");
    place.write("ids.txt", ids.replace("00007", "00003"));
    let call = ["select", "--strategy", "margin", "--input", "logits=logits.npy", "--ids", "ids.txt", "--budget", "1"];
    place.call(&call).fails(2, &["`ids` holds `pool/00003, a.jpg` in rows 3 and 7; ids are distinct"]);
    place.write("ids.txt", "a\nb\n");
    place.call(&call).fails(2, &["`ids` has 2 ids for 9000 rows"]);
}

#[test]
fn probabilities_in_shards_become_logits() {
    let place = Place::new();
    let rows: Vec<f32> = (0..300).flat_map(|row| [row as f32 / 512.0, 1.0 - row as f32 / 512.0]).collect();
    write_npy(&place.at("p.npy"), &[300, 2], &rows).unwrap();
    write_npy(&place.at("p-1.npy"), &[100, 2], &rows[..200]).unwrap();
    write_npy(&place.at("p-2.npy"), &[200, 2], &rows[200..]).unwrap();
    let more = ["--budget", "20"];
    let whole = select(&place, "margin", &["probs=p.npy"], &more);
    assert_eq!(select(&place, "margin", &["probs=p-*.npy"], &more), whole);
    let mut wrong = rows[200..].to_vec();
    wrong[11] = 0.9;
    write_npy(&place.at("p-2.npy"), &[200, 2], &wrong).unwrap();
    let call = ["select", "--strategy", "margin", "--budget", "3", "--input", "probs=p-*.npy"];
    place.call(&call).fails(1, &["p-2.npy, row 5: `probs`: probabilities sum to "]);
}

#[test]
fn wrong_shards_are_named() {
    let place = place();
    let call = |input: &str| place.call(&["select", "--strategy", "margin", "--budget", "5", "--input", input]);
    call("logits=none-*.npy").fails(2, &["none-*.npy: no file has a name like this", "shards of `logits`"]);
    call("logits=logits-1-of-2.npy,embeddings-2-of-2.npy").fails(
        2,
        &["embeddings-2-of-2.npy: rows of shape [24]; expected rows of shape [5], as in `logits-1-of-2.npy`"],
    );
    call("logits=logits.npy,logits-1-of-2.npy")
        .fails(2, &["logits-1-of-2.npy: values of type float16; expected float32"]);
    call("logits=logits.npy,logits.npy").fails(2, &["logits.npy: the same file as"]);
    call("labelled.labels=a-*.npy").fails(2, &["labels stand in one file, not in shards"]);
    fs::rename(place.at("logits-2-of-5.npy"), place.at("away.npy")).unwrap();
    call("logits=logits-*-of-5.npy").fails(2, &["logits-2-of-5.npy: missing, with 4 of 5 shards there"]);
    let mut file = fs::read(place.at("away.npy")).unwrap();
    place.write("logits-2-of-5.npy", &file[..file.len() - 3]);
    call("logits=logits-*-of-5.npy").fails(2, &["logits-2-of-5.npy, byte 128:", "bytes of values for shape"]);
    // A NaN in the third row.
    file[128 + 2 * CLASSES * 2..][..2].copy_from_slice(&0x7e00u16.to_le_bytes());
    place.write("logits-2-of-5.npy", &file);
    call("logits=logits-*-of-5.npy")
        .fails(1, &["logits-2-of-5.npy, row 2: `logits`: the value NaN; every value must be finite"]);
}

#[test]
fn wrong_parts_are_named() {
    let place = place();
    let score = |shard: &str, more: &[&str]| {
        let args = ["score", "--strategy", "margin", "--shard", shard, "--input", "logits=logits-*-of-2.npy"];
        place.call(&[&args[..], more].concat())
    };
    for (shard, out, seed) in [("1/3", "a.st", "1"), ("2/3", "b.st", "1"), ("3/3", "c.st", "1"), ("3/3", "d.st", "2")] {
        let said = score(shard, &["--out", out, "--seed", seed, "--budget", "9"]);
        assert_eq!(said.code, Some(0), "{}", said.err);
    }
    let merge = |parts: &[&str]| place.call(&[&["merge"][..], parts].concat());
    assert_eq!(merge(&["c.st", "a.st", "b.st"]).out.lines().count(), 9);
    merge(&["a.st", "c.st"]).fails(2, &["1 of 3 parts are missing: 2/3"]);
    merge(&["a.st", "b.st", "d.st"]).fails(2, &["d.st: a part of another question: `seed` is 2, but 1 in a.st"]);
    fs::copy(place.at("b.st"), place.at("again.st")).unwrap();
    merge(&["a.st", "b.st", "again.st"]).fails(2, &["again.st and b.st are both part 2; give each part once"]);
    merge(&["a.st", "a.st"]).fails(2, &["a.st: the same file as `a.st`"]);
    merge(&["a.st", "none.st"]).fails(2, &["none.st: no such file"]);
    merge(&["a.st", "b.st", "c.st", "--budget", "10"]).fails(2, &["the parts hold the best 9 rows each"]);
    let whole = fs::read(place.at("c.st")).unwrap();
    let mut other = whole.clone();
    *other.last_mut().unwrap() ^= 1;
    place.write("c.st", &other);
    merge(&["a.st", "b.st", "c.st"]).fails(2, &["c.st: content that is not what was written"]);
    place.write("c.st", &whole[..whole.len() - 8]);
    merge(&["a.st", "b.st", "c.st"]).fails(2, &["c.st: ", "a whole file that `querist score` wrote"]);
    merge(&["logits.npy"]).fails(2, &["logits.npy: ", "a whole file that `querist score` wrote"]);
    // Another pool of the same shape.
    for shard in [1, 2] {
        let file = format!("logits-{shard}-of-2.npy");
        let mut bytes = fs::read(place.at(&file)).unwrap();
        bytes[129] ^= 0x80;
        place.write(&file, bytes);
    }
    assert_eq!(score("3/3", &["--out", "c.st", "--seed", "1", "--budget", "9"]).code, Some(0));
    merge(&["a.st", "b.st", "c.st"]).fails(2, &["c.st: a part of another question: `pool` is"]);

    score("0/3", &["--out", "x.st", "--budget", "9"]).fails(2, &["write I/N, such as 3/8"]);
    score("9001/9001", &["--out", "x.st", "--budget", "9"]).fails(2, &["the pool has 9000 rows"]);
    for (strategy, input) in [
        ("k-center-greedy", "embeddings=embeddings.npy"),
        ("kmeans", "embeddings=embeddings.npy"),
        ("softrank-bald", "mc_log_probs=mc.npy"),
    ] {
        let args = ["score", "--strategy", strategy, "--budget", "3", "--out", "x.st", "--input", input];
        let more: &[&str] = if strategy == "softrank-bald" { &["--param", "T=3"] } else { &[] };
        place.call(&[&args[..], more].concat()).fails(2, &[strategy, "no part of them can be scored by itself"]);
    }
    assert!(!place.at("x.st").exists());
}

/// Peak of what the system counts as the process's memory, in bytes.
#[expect(clippy::zombie_processes, reason = "`wait4` waits for it, which tells what it used")]
fn peak_of(place: &Place, args: &[&str]) -> (u64, String) {
    let mut child = place.command(args).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
    let mut out = String::new();
    std::io::Read::read_to_string(&mut child.stdout.take().unwrap(), &mut out).unwrap();
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    let mut status = 0;
    // SAFETY: the pointers are to room for what the call writes; the child is ours and was not waited for.
    let waited = unsafe { libc::wait4(child.id() as i32, &raw mut status, 0, usage.as_mut_ptr()) };
    assert_eq!((waited, status), (child.id() as i32, 0), "{args:?} failed");
    // SAFETY: zeroed before, and written by the call that succeeded.
    let usage = unsafe { usage.assume_init() };
    (usage.ru_maxrss as u64 * 1024, out)
}

/// 10 million rows of 256 values of 16 bits, 5.1 GB in eight shards.
#[test]
#[ignore = "takes minutes, and 5.2 GB of disk: a pool of 10 million rows"]
fn a_pool_of_ten_million_rows_fits_two_gibibytes() {
    const MANY: usize = 10_000_000;
    const SHARDS: usize = 8;
    let place = Place::new();
    for shard in 0..SHARDS {
        let rows = MANY / SHARDS;
        let mut file =
            std::io::BufWriter::new(fs::File::create(place.at(&format!("e-{}-of-8.npy", shard + 1))).unwrap());
        let text = format!("{{'descr': '<f2', 'fortran_order': False, 'shape': ({rows}, 256), }}");
        let header = [&b"\x93NUMPY\x01\x00"[..], &118u16.to_le_bytes(), format!("{text:<117}\n").as_bytes()].concat();
        std::io::Write::write_all(&mut file, &header).unwrap();
        let mut state = 1 + shard as u64;
        let mut words = vec![0u16; 256];
        for _ in 0..rows {
            // Numbers from 1 to 2, with either sign.
            for word in &mut words {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                *word = 0x3c00 | (state >> 48) as u16 & 0x83ff;
            }
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            std::io::Write::write_all(&mut file, &bytes).unwrap();
        }
    }
    for (strategy, budget, more) in
        [("k-center-greedy", "20", &[][..]), ("kmeans", "8", &["--param", "n_init=1", "--param", "max_iter=2"])]
    {
        let args = ["select", "--strategy", strategy, "--budget", budget, "--memory", "1280MiB", "--seconds", "7200"];
        let (peak, out) = peak_of(&place, &[&args[..], &["--input", "embeddings=e-*-of-8.npy"], more].concat());
        println!("{strategy}: {} MiB at most", peak >> 20);
        assert_eq!(out.lines().count(), budget.parse::<usize>().unwrap());
        assert!(peak < 2 << 30, "{strategy} held {peak} bytes");
    }
}
