//! Packages that somebody else made come in by `querist plugin install`: only as what they are, and only where the user
//! said so.

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flate2::Compression;
use flate2::write::GzEncoder;
use querist_kernels::Compute;
use querist_loader::{Cache, Compiler, Limits, Listing, NativeStrategy, Sandbox, Source, WasmStrategy};
use querist_tests::cli::{Place, misbehaving, program, steers};
use querist_tests::components::{describing, description, packed};
use querist_tests::native::Packed;
use querist_tests::target;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

/// Where the tests' user has installed packages.
const STORE: &str = ".local/share/querist/plugins";

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// Expects that a package is not installed, for these reasons, and that nothing of it is left.
#[track_caller]
fn refused(place: &Place, args: &[&str], code: i32, words: &[&str]) {
    let said = place.call(&[&["plugin", "install"], args].concat());
    said.fails(code, words);
    assert_eq!(said.err.lines().find(|line| steers(line)), None);
    assert_eq!(left(place), Vec::<PathBuf>::new(), "{args:?} left something");
}

/// Everything in the folder of installed packages.
fn left(place: &Place) -> Vec<PathBuf> {
    let entries = fs::read_dir(place.at(STORE)).map(|entries| entries.map(|entry| entry.unwrap().path()));
    entries.map(Iterator::collect).unwrap_or_default()
}

/// A component that keeps the rules where it is not asked to break them, in a folder of its own.
fn component(place: &Place) -> PathBuf {
    place.write("their.wasm", fs::read(misbehaving().join("misbehaving/misbehaving.wasm")).unwrap())
}

#[test]
fn a_strangers_component_is_installed_used_looked_at_again_and_removed() {
    let place = Place::new();
    let digest = sha256(&fs::read(component(&place)).unwrap());
    let said = place.call(&["plugin", "install", "their.wasm"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(said.err.contains("is installed; not signed"), "{}", said.err);
    let folder = format!("{STORE}/misbehaving/{digest}");
    assert!(said.out.contains(&format!("DIR/{folder}")) && said.out.contains(&digest), "{}", said.out);
    let mut files: Vec<_> = fs::read_dir(place.at(&folder)).unwrap().map(|e| e.unwrap().file_name()).collect();
    files.sort();
    let names = ["hoarder.schema.json", "installed.toml", "misbehaving.schema.json", "misbehaving.wasm", "plugin.toml"];
    assert_eq!(files, names);

    // It is there for every project of the user's, under its digest.
    fs::remove_file(place.at("their.wasm")).unwrap();
    let list = place.good(&["plugin", "list"]);
    let line = list.lines().find(|line| line.starts_with("misbehaving")).expect("it is listed");
    assert!(line.contains("installed"), "{line}");
    querist_data::arrays::write_npy(&place.at("logits.npy"), &[6, 2], &[0.5f32; 12]).unwrap();
    let select = ["select", "--budget", "2", "--input", "logits=logits.npy", "--strategy"];
    for id in ["misbehaving", &format!("misbehaving@{}/misbehaving", &digest[..8])] {
        assert_eq!(place.good(&[&select[..], &[id]].concat()).lines().count(), 2);
    }
    place
        .call(&[&select[..], &["misbehaving@00000000/misbehaving"]].concat())
        .fails(2, &["no package that was found is", "one with digest", &digest]);

    // Again: it is the same, and stays.
    let again = place.good(&["plugin", "install", &folder, "--format", "json"]);
    let again: Value = serde_json::from_str(&again).unwrap();
    assert_eq!((&again["was_installed"], &again["signature"]), (&json!(true), &json!("not signed")));
    let verified = place.good(&["plugin", "verify"]);
    assert!(verified.contains("misbehaving 0.1.0") && verified.contains("not signed"), "{verified}");

    place.call(&["plugin", "remove", "misbehaving@0000"]).fails(2, &["no installed package is called"]);
    place.call(&["plugin", "remove", "../.."]).fails(2, &["no installed package is called"]);
    place.good(&["plugin", "remove", "misbehaving"]);
    assert_eq!(left(&place), Vec::<PathBuf>::new());
    place.call(&[&select[..], &["misbehaving"]].concat()).fails(2, &["no strategy is called"]);
}

#[test]
fn what_was_exchanged_after_it_was_installed_is_not_used() {
    let place = Place::new();
    let digest = sha256(&fs::read(component(&place)).unwrap());
    place.good(&["plugin", "install", "their.wasm"]);
    let artifact = place.at(&format!("{STORE}/misbehaving/{digest}/misbehaving.wasm"));
    exchange(&artifact);
    let list = place.good(&["plugin", "list"]);
    assert!(list.contains("changed since it was installed"), "{list}");
    place.call(&["plugin", "show", "misbehaving"]).fails(2, &["could not be used"]);
    let said = place.call(&["plugin", "verify", "misbehaving"]);
    assert_eq!(said.code, Some(1));
    assert!(said.out.contains("verification failed") && said.out.contains("changed since"), "{}", said.out);
    // Installing it again makes it what it was.
    place.good(&["plugin", "install", "their.wasm"]);
    place.good(&["plugin", "verify", "misbehaving"]);
}

/// A section more: still a component or library of the same words.
fn exchange(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    bytes.extend([0, 3, 1, b'x', 0]);
    fs::write(path, bytes).unwrap();
}

#[test]
fn what_is_exchanged_between_a_look_and_its_use_is_not_used() {
    let place = Place::new();
    let component = packed(&place, "evil", "0.1.0");
    let search = |folder: PathBuf| Listing::search(&[(Source::PluginDir, folder)]).unwrap();
    let listing = search(place.at("packed-0.1.0"));
    let resolved = listing.resolve("evil").unwrap();
    exchange(&component);
    let cache = Cache::open(&place.at("cache")).unwrap();
    let sandbox = Arc::new(Sandbox::new(cache, Compiler::InProcess).unwrap());
    let (params, limits) = (json!({}), Limits::default());
    let loaded = WasmStrategy::load(sandbox, resolved, &params, limits, Compute::threads(1));
    let Err(error) = loaded else { panic!("another component is used") };
    assert!(error.to_string().contains("the file changed since it was checked"), "{error}");

    let arrays = Packed::new();
    let listing = search(arrays.place.at("packed"));
    let resolved = listing.resolve("native-fixture/entropy").unwrap();
    exchange(&arrays.place.at("packed/native-fixture/native-fixture.so"));
    let Err(error) = NativeStrategy::load(resolved, &params, limits, Compute::threads(1), None) else {
        panic!("another library is used")
    };
    assert!(error.to_string().contains("the file changed since it was checked"), "{error}");
}

#[test]
fn versions_lie_side_by_side_and_a_project_names_its_own() {
    let place = Place::new();
    let digests: Vec<String> = ["0.9.0", "0.10.0"]
        .iter()
        .map(|version| {
            let component = packed(&place, "evil", version);
            place.good(&["plugin", "install", &text(&component)]);
            sha256(&fs::read(component).unwrap())
        })
        .collect();
    let shown = |id: &str| place.good(&["plugin", "show", id]);
    assert!(shown("evil").contains("evil 0.10.0"), "the newest, by number");
    assert!(shown(&format!("evil@{}/evil", digests[0])).contains("evil 0.9.0"));
    // The lock file says which one this project means.
    place.good(&["plugin", "lock", "evil"]);
    let lock = fs::read_to_string(place.at("querist.lock")).unwrap();
    let older = place.good(&["plugin", "lock", "evil", "--plugin-dir", "packed-0.9.0", "--format", "json"]);
    assert!(lock.contains(&digests[1]) && older.contains(&digests[0]), "{older}");
    assert!(shown("evil").contains("evil 0.9.0"));
    // Locking everything keeps what is locked; locking a name takes the newest, or the one that is named.
    assert!(place.good(&["plugin", "lock"]).contains("evil 0.9.0"));
    assert!(place.good(&["plugin", "lock", "evil"]).contains("evil 0.10.0"));
    let older = format!("evil@{}", &digests[0][..10]);
    assert!(place.good(&["plugin", "lock", &older]).contains("evil 0.9.0"));
    place.good(&["plugin", "remove", &older]);
    assert!(shown("evil").contains("evil 0.10.0"));
    // It is not the locked one.
    let select = ["select", "--budget", "1", "--input", "logits=l.npy", "--strategy", "evil", "--locked"];
    querist_data::arrays::write_npy(&place.at("l.npy"), &[2, 2], &[0.5f32; 4]).unwrap();
    place.call(&select).fails(2, &["is not the one in querist.lock", "artifact"]);
}

#[test]
fn only_what_was_asked_for_is_installed() {
    let place = Place::new();
    component(&place);
    let wrong = format!("sha256:{}", sha256(b"another"));
    refused(&place, &["their.wasm", "--digest", &wrong], 1, &["cannot install their.wasm", "expected sha256:"]);
    let folder = text(&misbehaving().join("misbehaving"));
    refused(&place, &[&folder, "--digest", &wrong], 1, &["it is not what you asked for"]);
    refused(&place, &["their.wasm", "--digest", "sha256:12"], 2, &["is no digest"]);
    refused(&place, &["nowhere.wasm"], 1, &["nowhere.wasm: no such file"]);
    refused(&place, &["ftp://a.org/x.wasm"], 2, &["no place that packages come from"]);
    let good = format!("sha256:{}", sha256(&fs::read(place.at("their.wasm")).unwrap()));
    place.good(&["plugin", "install", "their.wasm", "--digest", &good]);
}

#[test]
fn what_is_no_package_is_not_installed() {
    let place = Place::new();
    place.write("text.wasm", "nothing of the kind");
    refused(&place, &["text.wasm"], 1, &["not a WebAssembly component"]);
    place.write("module.wasm", describing(&description("evil", "0.1.0", &json!({"type": "object"}))));
    refused(&place, &["module.wasm"], 1, &["a core module", "querist plugin pack"]);
    fs::create_dir(place.at("empty")).unwrap();
    refused(&place, &["empty"], 1, &["plugin.toml: no such file"]);
    let foreign = wat::parse_str(r#"(component (import "wasi:cli/environment@0.2.0" (instance)))"#).unwrap();
    place.write("foreign.wasm", foreign);
    refused(&place, &["foreign.wasm"], 1, &["imports wasi:cli/environment"]);
    let library = text(&target().join("libnative_fixture.so"));
    refused(&place, &[&library], 1, &["a bare library"]);
    // A gigabyte of nothing.
    File::create(place.at("large.wasm")).unwrap().set_len(1 << 30).unwrap();
    refused(&place, &["large.wasm"], 1, &["1073741824 bytes", "expected at most 67108864"]);
    // A component that carries the manifest of another.
    let honest = fs::read(packed(&place, "evil", "0.1.0")).unwrap();
    let lie = String::from_utf8_lossy(&honest).into_owned();
    assert!(lie.contains("\"version\":\"0.1.0\""));
    let mut bytes = honest.clone();
    let at = bytes.windows(17).rposition(|window| window == b"\"version\":\"0.1.0\"").unwrap();
    bytes[at + 11..at + 16].copy_from_slice(b"9.9.9");
    place.write("lie.wasm", &bytes);
    refused(&place, &["lie.wasm"], 1, &["describes itself otherwise than its manifest does"]);
}

#[test]
fn a_package_whose_texts_lie_is_not_installed() {
    let place = Place::new();
    packed(&place, "evil", "0.1.0");
    let manifest = "packed-0.1.0/evil/plugin.toml";
    let honest = fs::read_to_string(place.at(manifest)).unwrap();
    for (what, lie, words) in [
        ("a summary", honest.replace("Evil", "Harmless"), "disagrees with evil.wasm"),
        ("a version", honest.replace("\"0.1.0\"", "\"0.2.0\""), "disagrees with evil.wasm"),
        ("a path", honest.replace("\"evil.wasm\"", "\"../../../etc/passwd\""), "lie in its own folder"),
        ("a name", honest.replace("package = \"evil\"", "package = \"../evil\""), "names are 1 to 64"),
        ("many tables", format!("{honest}{}", "[[strategy]]\n".repeat(80_000)), "plugin.toml"),
        ("a large text", format!("{honest}# {}", "x".repeat(2 << 20)), "expected at most 1048576"),
        ("depth", format!("x = {}", "[".repeat(100_000)), "plugin.toml"),
    ] {
        place.write(manifest, lie);
        let said = place.call(&["plugin", "install", "packed-0.1.0/evil"]);
        said.fails(1, &[words]);
        assert_eq!(left(&place), Vec::<PathBuf>::new(), "{what}");
    }
    place.write(manifest, &honest);
    place.good(&["plugin", "install", "packed-0.1.0/evil"]);
}

#[test]
fn compiled_code_of_a_package_is_never_loaded() {
    let place = Place::new();
    packed(&place, "evil", "0.1.0");
    let kept = fs::read_dir(target().join("test-cache/compiled")).unwrap().map(|entry| entry.unwrap().path());
    let compiled = kept.filter(|path| path.extension().is_some_and(|ending| ending == "cwasm"));
    let compiled = compiled.map(|path| fs::read(path).unwrap()).min_by_key(Vec::len);
    let compiled = compiled.expect("it was compiled when it was packed");
    // Beside the component it is left behind.
    let digest = sha256(&fs::read(place.at("packed-0.1.0/evil/evil.wasm")).unwrap());
    place.write(&format!("packed-0.1.0/evil/{digest}.cwasm"), &compiled);
    place.write("packed-0.1.0/evil/evil.cwasm", &compiled);
    place.good(&["plugin", "install", "packed-0.1.0/evil"]);
    let installed = fs::read_dir(place.at(&format!("{STORE}/evil/{digest}"))).unwrap();
    let names: Vec<_> = installed.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert!(names.iter().all(|name| !name.ends_with("cwasm")), "{names:?}");
    place.good(&["plugin", "remove", "evil"]);
    // In the component's place it is none.
    place.write("packed-0.1.0/evil/evil.wasm", &compiled);
    refused(&place, &["packed-0.1.0/evil"], 1, &["not a WebAssembly component"]);
    refused(&place, &["packed-0.1.0/evil/evil.cwasm"], 1, &["a bare library"]);
}

/// An archive of entries: a name as it stands there, what it is, and what it holds or leads to.
fn archive(entries: &[(&str, EntryType, &[u8])]) -> Vec<u8> {
    let mut archive = Builder::new(Vec::new());
    for (name, kind, contents) in entries {
        let mut header = Header::new_gnu();
        // Names that the library would refuse to write.
        header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(*kind);
        header.set_mode(0o644);
        if *kind == EntryType::Regular {
            header.set_size(contents.len() as u64);
        } else {
            header.set_size(0);
            header.as_gnu_mut().unwrap().linkname[..contents.len()].copy_from_slice(contents);
        }
        header.set_cksum();
        let body: &[u8] = if *kind == EntryType::Regular { contents } else { &[] };
        archive.append(&header, body).unwrap();
    }
    archive.into_inner().unwrap()
}

#[test]
fn an_archive_gives_the_files_of_one_package_and_reaches_nothing_else() {
    let place = Place::new();
    packed(&place, "evil", "0.1.0");
    let file = |name: &str| fs::read(place.at("packed-0.1.0/evil").join(name)).unwrap();
    let [manifest, wasm, schema] = ["plugin.toml", "evil.wasm", "evil.schema.json"].map(file);
    let regular = EntryType::Regular;
    let good = [
        ("evil/plugin.toml", regular, &manifest[..]),
        ("evil/evil.wasm", regular, &wasm[..]),
        ("evil/evil.schema.json", regular, &schema[..]),
    ];
    let with = |more: (&'static str, EntryType, &'static [u8])| archive(&[&good[..], &[more]].concat());
    for (what, bytes, words) in [
        ("a link", with(("evil/evil.minisig", EntryType::Symlink, b"/etc/passwd")), "a link `evil/evil.minisig`"),
        ("a hard link", with(("evil/x", EntryType::Link, b"/etc/passwd")), "a link"),
        ("a pipe", with(("evil/x", EntryType::Fifo, b"")), "a named pipe"),
        ("a device", with(("evil/x", EntryType::Char, b"")), "a device"),
        ("..", with(("evil/../../../x", regular, b"x")), "one folder"),
        (".. alone", with(("../x", regular, b"x")), "one folder"),
        ("an absolute path", with(("/tmp/querist-was-here", regular, b"x")), "one folder"),
        ("two folders", with(("other/x", regular, b"x")), "one folder"),
        ("a deep path", with(("evil/a/b", regular, b"x")), "one folder"),
        ("a name twice", with(("evil/evil.wasm", regular, b"x")), "twice"),
        ("escapes", with(("evil/\u{1b}[31mx", EntryType::Symlink, b"x")), "a link"),
        ("half", archive(&good)[..5000].to_vec(), "not an archive"),
        ("many files", archive(&vec![("evil/x", EntryType::Regular, &b""[..]); 2000]), "twice"),
    ] {
        place.write("evil.tar", bytes);
        refused(&place, &["evil.tar"], 1, &[words]);
        assert!(!Path::new("/tmp/querist-was-here").exists(), "{what}");
    }
    // A small file of a gigabyte.
    let mut bomb = GzEncoder::new(Vec::new(), Compression::best());
    let mut header = Header::new_gnu();
    header.set_path("evil/evil.wasm").unwrap();
    header.set_size(1 << 30);
    header.set_cksum();
    bomb.write_all(header.as_bytes()).unwrap();
    (0..1 << 10).for_each(|_| bomb.write_all(&[0; 1 << 20]).unwrap());
    let bomb = bomb.finish().unwrap();
    assert!(bomb.len() < 4 << 20);
    place.write("bomb.tar.gz", bomb);
    refused(&place, &["bomb.tar.gz"], 1, &["archive holds more than"]);

    // The honest one is installed, packed either way.
    place.write("good.tar", archive(&good));
    place.good(&["plugin", "install", "good.tar"]);
    let mut zipped = GzEncoder::new(Vec::new(), Compression::fast());
    zipped.write_all(&archive(&good)).unwrap();
    let zipped = place.write("good.tar.gz", zipped.finish().unwrap());
    let digest = format!("sha256:{}", sha256(&fs::read(zipped).unwrap()));
    place.good(&["plugin", "install", "good.tar.gz", "--digest", &digest]);
    assert!(place.good(&["plugin", "show", "evil"]).contains(&sha256(&wasm)));
}

#[test]
fn links_in_a_folder_are_not_followed() {
    for name in ["plugin.toml", "evil.wasm", "evil.schema.json", "evil.wasm.minisig"] {
        let place = Place::new();
        packed(&place, "evil", "0.1.0");
        let (path, kept) = (place.at("packed-0.1.0/evil").join(name), place.at("kept"));
        if path.exists() {
            fs::rename(&path, &kept).unwrap();
        } else {
            fs::write(&kept, "").unwrap();
        }
        symlink(&kept, &path).unwrap();
        refused(&place, &["packed-0.1.0/evil"], 1, &[name, "a link"]);
    }
}

#[test]
fn folders_that_everybody_can_write_to_are_nobodys_word() {
    let place = Place::new();
    packed(&place, "evil", "0.1.0");
    fs::rename(place.at("packed-0.1.0"), place.at("plugins")).unwrap();
    let open = |path: &str, mode: u32| fs::set_permissions(place.at(path), Permissions::from_mode(mode)).unwrap();
    place.good(&["plugin", "show", "evil"]);
    for (folder, mode) in [("plugins", 0o777), ("plugins", 0o1777), ("plugins/evil", 0o757)] {
        open(folder, mode);
        let list = place.good(&["plugin", "list"]);
        assert!(list.contains("everybody can write into") && list.contains("chmod o-w"), "{folder}: {list}");
        assert!(list.contains("k-center-greedy"), "{folder} hides others");
        place.call(&["plugin", "show", "evil"]).fails(2, &["no strategy is called `evil`", "could not be used"]);
        open(folder, 0o755);
    }
    // By way of a link, too.
    fs::rename(place.at("plugins"), place.at("real")).unwrap();
    symlink(place.at("real"), place.at("plugins")).unwrap();
    place.good(&["plugin", "show", "evil"]);
    open("real", 0o777);
    place.call(&["plugin", "show", "evil"]).fails(2, &["could not be used"]);
    open("real", 0o755);
    place.good(&["plugin", "show", "evil"]);
    // What others of a group can write to is theirs and the user's, but no place of one's own.
    open("plugins", 0o775);
    place.good(&["plugin", "show", "evil"]);
    place.good(&["plugin", "install", "plugins/evil"]);
    fs::set_permissions(place.at(STORE), Permissions::from_mode(0o777)).unwrap();
    place.call(&["plugin", "install", "plugins/evil"]).fails(1, &["others can write into its folder"]);
}

#[test]
fn nothing_is_called_like_what_is_built_in() {
    let place = Place::new();
    let impostor = packed(&place, "uncertainty", "0.1.0");
    refused(&place, &[&text(&impostor)], 1, &["a built-in package is called `uncertainty`"]);
    let built_in = text(&program().with_file_name("plugins/uncertainty"));
    refused(&place, &[&built_in], 1, &["`uncertainty` is built in", "nothing to install"]);
    // One that a project brings is refused where it lies, too.
    fs::rename(place.at("packed-0.1.0"), place.at("plugins")).unwrap();
    let list = place.good(&["plugin", "list"]);
    assert!(list.contains("a built-in package is called `uncertainty`"), "{list}");
}

#[test]
fn native_code_is_installed_without_running_and_runs_only_by_the_users_word() {
    let arrays = Packed::new();
    let place = &arrays.place;
    let said = place.call(&["plugin", "install", "packed/native-fixture"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(said.err.contains("native code") && said.err.contains("--isolate"), "{}", said.err);
    fs::remove_dir_all(place.at("packed")).unwrap();
    let select = |more: &[&str]| {
        let select = ["select", "--strategy", "native-fixture/entropy", "--budget", "4"];
        let select = [&select[..], &["--input", "logits=logits.npy"]].concat();
        place.call(&[&select[..], more].concat())
    };
    let words = ["native code", "querist plugin lock native-fixture", "--allow-native", "--isolate"];
    select(&[]).fails(2, &words);
    select(&["--allow-native"]).fails(2, &["lock it"]);
    let isolated = select(&["--isolate"]);
    assert_eq!(isolated.code, Some(0), "{}", isolated.err);
    place.good(&["plugin", "lock", "native-fixture"]);
    select(&[]).fails(2, &["add `--allow-native`"]);
    assert_eq!(select(&["--allow-native"]).out, isolated.out);
}

/// Who is trusted is said by flags and by the user's own files. Whoever sends a run file has no say.
#[test]
fn a_run_file_loosens_nothing() {
    const RUN: &str = "version = 1\ndataset = { name = \"digits\", test = 397 }\nmodel = { name = \"mlp\" }\n\
                       recipe = { epochs = 1 }\nbudget = { initial = 20, batch = 10, rounds = 1 }\n\
                       strategy = { id = \"native-fixture/entropy\" }\n";
    let arrays = Packed::new();
    arrays.lock();
    let place = &arrays.place;
    let run = ["run", "run.toml", "--out", "r", "--plugin-dir", "packed"];
    place.write("run.toml", RUN);
    place.call(&run).fails(2, &["native code", "--allow-native"]);
    for key in [
        "allow_native = true",
        "isolate = false",
        "locked = false",
        "plugin_dir = [\"packed\"]",
        "[trust]\nkeys = [\"RWQ\"]",
        "[plugins]\nallow_native = true",
    ] {
        place.write("run.toml", format!("{RUN}{key}\n"));
        let name = key.trim_start_matches('[').split([' ', ']']).next().unwrap();
        let mut command = place.command(&run);
        // Nor has whatever may stand in the environment.
        let output = command.env("QUERIST_ALLOW_NATIVE", "1").output().unwrap();
        place.said(&output).fails(2, &[&format!("unknown key `{name}`")]);
    }
    for key in ["allow_native = true", "isolate = false"] {
        let strategy = format!("strategy = {{ id = \"native-fixture/entropy\", {key} }}");
        place.write("run.toml", RUN.replace("strategy = { id = \"native-fixture/entropy\" }", &strategy));
        place.call(&run).fails(2, &["unknown key"]);
    }
    assert!(!place.at("r").exists());
}
