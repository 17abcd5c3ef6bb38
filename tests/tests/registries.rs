//! Registries of plugins: folders of texts, read where they lie or from a server.

use std::fs;

use querist_protocol::API_VERSION;
use querist_tests::cli::{Place, steers};
use querist_tests::components::packed;
use querist_tests::server::Server;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// A registry in `lab/` with the plugin `evil`, which has one version that fits and newer ones that do not.
fn registry(place: &Place) -> String {
    let bytes = fs::read(packed(place, "evil", "0.2.0")).unwrap();
    place.write("lab/files/evil-0.2.0.wasm", &bytes);
    let digest: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    place.write("lab/registry.toml", "registry = 1\nplugins = [\"evil\", \"other\"]\n");
    let release = |version: &str, api: &str, more: &str| {
        format!(
            "\n[[version]]\nversion = \"{version}\"\ncommit = \"0123456789abcdef0123456789abcdef01234567\"\n\
             file = \"files/evil-{version}.wasm\"\ndigest = \"sha256:{digest}\"\napi = \"{api}\"\n{more}\n"
        )
    };
    let head = |name: &str| {
        format!(
            "name = \"{name}\"\nsummary = \"Margins that lie\"\nsource = \"https://lab.org/{name}\"\n\
             license = \"MIT\"\n"
        )
    };
    let releases = [
        release("0.1.0", API_VERSION, ""),
        release("0.2.0", API_VERSION, "querist = \">=0.1\""),
        release("0.3.0", "99.0", ""),
        release("0.4.0", API_VERSION, "querist = \">=99\""),
        release("0.5.0", API_VERSION, "withdrawn = \"it picked rows twice\""),
    ];
    place.write("lab/plugins/evil.toml", head("evil") + &releases.concat());
    place.write("lab/plugins/other.toml", head("other") + &release("1.0.0", "99.0", ""));
    digest
}

#[test]
fn the_newest_version_that_fits_is_found_and_installed() {
    let place = Place::new();
    let digest = registry(&place);
    let files = ["registry.toml", "plugins/evil.toml", "plugins/other.toml", "files/evil-0.2.0.wasm"];
    let served = files.map(|name| (format!("/copy/{name}"), fs::read(place.at("lab").join(name)).unwrap()));
    let server = Server::of(served);
    for registry in ["lab".to_owned(), server.at("/copy"), server.at("/copy/")] {
        let found = place.good(&["plugin", "search", "MARGIN", "--registry", &registry]);
        for words in [
            "evil 0.2.0 (wasm, commit 0123456789ab) - Margins that lie",
            "source   https://lab.org/evil",
            "not 0.5.0: withdrawn: it picked rows twice",
            "not 0.4.0: needs querist >=99, this is 0.1.0",
            "not 0.3.0: needs a host that speaks version 99.0",
            "other no version fits this host",
        ] {
            assert!(found.contains(words), "`{words}` is missing in {found}");
        }
        assert!(!found.contains("0.1.0 ("), "an older version is not worth a word: {found}");
        let found = place.good(&["plugin", "search", "evil", "--registry", &registry, "--format", "json"]);
        let found: Value = serde_json::from_str(&found).unwrap();
        assert_eq!(found.as_array().unwrap().len(), 1);
        assert_eq!(found[0]["version"], "0.2.0");
        assert_eq!(found[0]["passed_over"][0]["version"], "0.5.0");

        let said = place.call(&["plugin", "install", "evil", "--registry", &registry]);
        assert_eq!(said.code, Some(0), "{}", said.err);
        assert!(said.out.contains(&digest) && said.err.contains("0.5.0 is passed over: withdrawn"), "{}", said.err);
        place.good(&["plugin", "remove", "evil"]);
    }
    let install = |name: &str| place.call(&["plugin", "install", name, "--registry", "lab"]);
    install("evli").fails(1, &["no plugin `evli`", "did you mean `evil`?"]);
    install("other").fails(1, &["no version of `other` fits this host", "1.0.0: needs a host that speaks"]);
    install("evil@0.4.0").fails(1, &["needs querist >=99"]);
    install("evil@7.0.0").fails(1, &["never published"]);
    install("evil@0.1.0").fails(1, &["evil-0.1.0.wasm: no such file"]);
    // The registry's word for the digest is held against what comes.
    place.write("lab/files/evil-0.2.0.wasm", b"another");
    install("evil").fails(1, &["it is not what you asked for"]);
}

#[test]
fn a_hostile_registry_reaches_nothing_and_steers_nothing() {
    let place = Place::new();
    registry(&place);
    let text = fs::read_to_string(place.at("lab/plugins/evil.toml")).unwrap();
    let esc = r"\u001b[31m\u202e";
    let search = ["plugin", "search", "--registry", "lab"];
    for (from, to) in [
        ("Margins that lie", format!("{esc}Margins")),
        ("https://lab.org/evil", format!("{esc}https")),
        ("\"MIT\"", format!("\"{esc}\"")),
        ("0123456789abcdef", format!("{esc}{}", "x".repeat(100_000))),
        ("it picked rows twice", esc.to_owned()),
        (">=99", esc.to_owned()),
        ("\"99.0\"", format!("\"{esc}\"")),
        ("version = \"0.3.0\"", format!("version = \"{esc}\"")),
    ] {
        place.write("lab/plugins/evil.toml", text.replace(from, &to));
        let said = place.call(&search);
        assert!(!said.out.lines().chain(said.err.lines()).any(steers), "{from}: {}{}", said.out, said.err);
        place.call(&[&search[..], &["--format", "json"]].concat());
    }
    for (from, to, words) in [
        ("name = \"evil\"", "name = \"other\"".to_owned(), "it is about `other`"),
        ("summary", "sumary".to_owned(), "unknown field `sumary`"),
        ("file = \"files/evil-0.2.0.wasm\"", "file = \"../secret\"".to_owned(), "stays inside it"),
        ("file = \"files/evil-0.2.0.wasm\"", "file = \"/etc/passwd\"".to_owned(), "stays inside it"),
        ("file = \"files/evil-0.2.0.wasm\"", "file = \"http://lab.org/x\"".to_owned(), "only https://"),
        ("file = \"files/evil-0.2.0.wasm\"", "file = \"file:///etc/passwd\"".to_owned(), "no place that packages"),
        ("digest = \"sha256:", "digest = \"md5:".to_owned(), "is no digest"),
        ("Margins that lie", "x".repeat(1 << 20), "expected at most 262144"),
    ] {
        place.write("lab/plugins/evil.toml", text.replace(from, &to));
        let said = place.call(&["plugin", "install", "evil", "--registry", "lab"]);
        said.fails(1, &[words]);
    }
    for (list, words) in [
        ("registry = 1\nplugins = [\"../../etc/passwd\"]", "names are 1 to 64"),
        ("registry = 2\nplugins = []", "format 2"),
        ("registry = 1", "plugins"),
    ] {
        place.write("lab/registry.toml", list);
        place.call(&search).fails(1, &[words]);
    }
    place.call(&["plugin", "search", "--registry", "http://lab.org"]).fails(1, &["only https://"]);
    place.call(&["plugin", "search", "--registry", "nowhere"]).fails(1, &["no such file"]);
}
