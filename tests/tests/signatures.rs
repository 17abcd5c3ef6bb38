//! Whose signature counts, and the three words for it. The signatures are made by the crate of minisign's author.

use std::fs::{self, Permissions};
use std::io::Cursor;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use minisign::{KeyPair, sign};
use querist_tests::cli::{Place, Said, steers};
use querist_tests::components::packed;
use querist_tests::server::Server;
use serde_json::Value;
use sha2::{Digest, Sha256};

const KEYS: &str = ".config/querist/trusted-keys.toml";

/// An author with a key.
struct Author(KeyPair);

impl Author {
    fn new() -> Self {
        Self(KeyPair::generate_unencrypted_keypair().unwrap())
    }

    fn key(&self) -> String {
        self.0.pk.to_base64()
    }

    fn signature(&self, bytes: &[u8]) -> String {
        let comment = Some("untrusted \u{1b}[31mcomment");
        sign(Some(&self.0.pk), &self.0.sk, Cursor::new(bytes), Some("file:evil.wasm"), comment).unwrap().into_string()
    }
}

/// A place with a component of a stranger's, which lies in `evil.wasm`.
fn with_component() -> (Place, Vec<u8>) {
    let place = Place::new();
    let bytes = fs::read(packed(&place, "evil", "0.1.0")).unwrap();
    place.write("evil.wasm", &bytes);
    (place, bytes)
}

fn install(place: &Place, args: &[&str]) -> Said {
    let said = place.call(&[&["plugin", "install"], args].concat());
    assert_eq!(said.err.lines().find(|line| steers(line)), None);
    said
}

fn word(place: &Place, path: &str) -> String {
    let said = place.call(&["plugin", "verify", path, "--format", "json"]);
    let rows: Value = serde_json::from_str(&said.out).unwrap_or_else(|_| panic!("{}", said.err));
    let word = rows[0]["signature"].as_str().unwrap().to_owned();
    assert_eq!(said.code, Some(if word == "verification failed" { 1 } else { 0 }));
    word
}

#[test]
fn three_words_say_what_is_known_of_who_made_it() {
    let (place, bytes) = with_component();
    let (author, stranger) = (Author::new(), Author::new());
    assert_eq!(word(&place, "evil.wasm"), "not signed");
    for (signature, before, after) in [
        (author.signature(&bytes), "verification failed", "verified"),
        (stranger.signature(&bytes), "verification failed", "verification failed"),
        (author.signature(b"other bytes"), "verification failed", "verification failed"),
        ("no signature".to_owned(), "verification failed", "verification failed"),
        (String::new(), "verification failed", "verification failed"),
    ] {
        place.write("evil.wasm.minisig", signature);
        assert_eq!(word(&place, "evil.wasm"), before);
        place.good(&["plugin", "trust", &author.key(), "--name", "The lab"]);
        assert_eq!(word(&place, "evil.wasm"), after);
        place.good(&["plugin", "trust", "--remove", &author.key()]);
    }
}

#[test]
fn a_file_with_a_bad_signature_is_not_installed() {
    let (place, bytes) = with_component();
    let author = Author::new();
    place.write("evil.wasm.minisig", author.signature(&bytes));
    let unknown = install(&place, &["evil.wasm"]);
    unknown.fails(1, &["verification failed: signed by the key", "which you do not trust", "querist plugin trust KEY"]);
    // The user may leave it out of account, and then it counts for nothing.
    let ignored = install(&place, &["evil.wasm", "--ignore-signature"]);
    assert!(ignored.code == Some(0) && ignored.err.contains("verification failed"), "{}", ignored.err);
    place.good(&["plugin", "remove", "evil"]);

    place.write("their.pub", format!("untrusted comment: minisign public key\n{}\n", author.key()));
    let added = place.good(&["plugin", "trust", "their.pub", "--name", "The lab"]);
    let good = install(&place, &["evil.wasm"]);
    let id = added.split(' ').next().unwrap();
    assert!(good.err.contains(&format!("verified: The lab (key {id})")), "{}", good.err);
    // What is installed is verified again from what lies there.
    assert_eq!(word(&place, "evil"), "verified");
    // The same bytes without a signature, as from a registry of images, take nothing away.
    fs::remove_file(place.at("evil.wasm.minisig")).unwrap();
    let again = install(&place, &["evil.wasm"]);
    assert!(again.err.contains(&format!("verified: The lab (key {id})")), "{}", again.err);
    assert_eq!(word(&place, "evil"), "verified");
    place.good(&["plugin", "trust", "--remove", id]);
    assert_eq!(word(&place, "evil"), "verification failed");

    place.good(&["plugin", "trust", &author.key()]);
    place.write("evil.wasm.minisig", author.signature(b"other bytes"));
    install(&place, &["evil.wasm"]).fails(1, &["is not one over these bytes"]);
}

#[test]
fn what_comes_over_a_network_needs_a_digest_or_a_trusted_key() {
    let (place, bytes) = with_component();
    let (author, stranger) = (Author::new(), Author::new());
    let file = |name: &str, contents: &[u8]| (format!("/{name}"), contents.to_vec());
    let server = Server::of([
        file("plain.wasm", &bytes),
        file("signed.wasm", &bytes),
        file("signed.wasm.minisig", author.signature(&bytes).as_bytes()),
        file("strange.wasm", &bytes),
        file("strange.wasm.minisig", stranger.signature(&bytes).as_bytes()),
    ]);
    let digest = format!("sha256:{}", Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect::<String>());
    let words = ["could give anything", "--digest sha256:", "querist plugin trust KEY"];
    install(&place, &[&server.at("/plain.wasm")]).fails(2, &words);
    assert!(server.asked().is_empty(), "nobody is asked for what could not be believed");

    place.good(&["plugin", "trust", &author.key()]);
    install(&place, &[&server.at("/plain.wasm")]).fails(2, &words);
    install(&place, &[&server.at("/strange.wasm")]).fails(1, &["which you do not trust"]);
    // A signature that counts for nothing does not stand in for a digest.
    install(&place, &[&server.at("/strange.wasm"), "--ignore-signature"]).fails(2, &words);
    let other = format!("sha256:{}", "0".repeat(64));
    install(&place, &[&server.at("/plain.wasm"), "--digest", &other]).fails(1, &["it is not what you asked for"]);
    // Not even the signature of a trusted key stands in for another digest than that which was stated.
    install(&place, &[&server.at("/signed.wasm"), "--digest", &other]).fails(1, &["it is not what you asked for"]);
    assert!(!place.at(".local/share/querist/plugins/evil").exists());

    for (args, said) in [
        (vec![server.at("/signed.wasm")], "; verified"),
        (vec![server.at("/plain.wasm"), "--digest".to_owned(), digest], "not signed"),
    ] {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let good = install(&place, &args);
        assert!(good.code == Some(0) && good.err.contains(said), "{args:?}: {}", good.err);
        place.good(&["plugin", "remove", "evil"]);
    }
}

#[test]
fn trusted_keys_are_the_users_alone() {
    let (place, _) = with_component();
    let author = Author::new();
    let list = || place.good(&["plugin", "trust"]);
    assert_eq!(list(), "");
    place.good(&["plugin", "trust", &author.key(), "--name", "The \u{1b}[31mlab"]);
    place.good(&["plugin", "trust", &author.key(), "--name", "The \u{1b}[31mlab"]);
    place.good(&["plugin", "trust", "--identity", "me@lab.org", "--issuer", "https://accounts.lab.org"]);
    let listed = list();
    assert!(listed.contains(&author.key()) && listed.contains("me@lab.org"), "{listed}");
    assert_eq!(listed.lines().count(), 2, "a key is trusted once: {listed}");
    assert!(!listed.lines().any(steers), "{listed}");
    for (args, words) in [
        (vec!["nonsense"], "no public key of minisign"),
        (vec!["--remove", "nonsense"], "no key that you trust"),
        (vec!["--identity", "me@lab.org"], "--issuer"),
    ] {
        place.call(&[vec!["plugin", "trust"], args].concat()).fails(2, &[words]);
    }
    // A file that others can exchange says nothing.
    let folder = place.at(KEYS).parent().map(PathBuf::from).unwrap();
    assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
    fs::set_permissions(&folder, Permissions::from_mode(0o777)).unwrap();
    place.call(&["plugin", "verify", "evil.wasm"]).fails(1, &["trusted-keys.toml", "others can write"]);
    fs::set_permissions(&folder, Permissions::from_mode(0o700)).unwrap();
    place.write(KEYS, "version = 1\ntrust_everybody = true\n");
    place.call(&["plugin", "verify", "evil.wasm"]).fails(1, &["trusted-keys.toml", "line 2"]);
}

/// `cosign` itself asks sigstore's servers; here is what this program asks of it, and what it makes of its answers.
#[test]
fn a_bundle_of_sigstore_is_verified_where_cosign_is_installed() {
    let (place, bytes) = with_component();
    place.write("evil.wasm.sigstore.json", "{}");
    let verify = |path: &str| {
        let mut command = place.command(&["plugin", "verify", "evil.wasm"]);
        place.said(&command.env("PATH", path).output().unwrap())
    };
    let without = verify("/nowhere");
    assert!(without.code == Some(0) && without.out.contains("not signed"), "{}", without.out);
    assert!(without.out.contains("`cosign`") && without.out.contains("not installed"), "{}", without.out);

    // One that believes a single identity, and writes down what it was called with.
    let called = place.at("called");
    let script = format!(
        "#!/bin/sh\necho \"$@\" >> {0}\nif [ \"$1\" = version ]; then exit 0; fi\nfor last; do :; done\n\
         cat \"$last\" > {0}.file\n[ \"$3\" = good@lab.org ]\n",
        called.display()
    );
    let cosign = place.write("bin/cosign", script);
    fs::set_permissions(cosign, Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/bin:/bin", place.at("bin").display());
    let said = verify(&path);
    assert!(said.code == Some(1) && said.out.contains("verification failed"), "nobody is trusted: {}", said.out);
    let issuer = ["--issuer", "https://accounts.lab.org"];
    place.good(&[&["plugin", "trust", "--identity", "bad@lab.org"][..], &issuer].concat());
    let said = verify(&path);
    assert!(said.code == Some(1) && said.out.contains("verification failed"), "{}", said.out);
    place.good(&[&["plugin", "trust", "--identity", "good@lab.org"][..], &issuer].concat());
    let said = verify(&path);
    assert!(said.code == Some(0) && said.out.contains("verified: good@lab.org"), "{}", said.out);
    let calls = fs::read_to_string(&called).unwrap();
    let last = calls.lines().last().unwrap();
    let begins = "verify-blob --certificate-identity good@lab.org --certificate-oidc-issuer \
                  https://accounts.lab.org --bundle ";
    assert!(last.starts_with(begins), "{last}");
    assert_eq!(fs::read(place.at("called.file")).unwrap(), bytes, "what was read is what is verified");
}
