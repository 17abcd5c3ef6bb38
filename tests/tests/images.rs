//! Components in registries of images, as `wkg` publishes them, and in folders in the layout of images.

use std::collections::BTreeMap;
use std::fs;

use querist_tests::cli::{Place, Said, steers};
use querist_tests::components::packed;
use querist_tests::server::{Reply, Server};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.wasm.config.v0+json";

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

/// An image with its parts, by digest.
struct Image {
    manifest: Value,
    parts: BTreeMap<String, Vec<u8>>,
}

impl Image {
    /// A component in an image, as `wkg oci push` makes it.
    fn of(component: &[u8]) -> Self {
        let config = json!({
            "created": "2026-08-01T10:00:00.000000000Z", "author": "The lab", "architecture": "wasm", "os": "wasip2",
            "layerDigests": [digest(component)],
            "component": {"exports": ["querist:strategy/strategies@0.2.0"], "imports": [], "target": null},
        });
        let config = config.to_string().into_bytes();
        let of = |kind: &str, bytes: &[u8]| json!({"mediaType": kind, "digest": digest(bytes), "size": bytes.len()});
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "config": of(CONFIG, &config),
            "layers": [of("application/wasm", component)],
            "annotations": {"org.opencontainers.image.source": "https://github.com/lab/evil"},
        });
        let parts = [config, component.to_vec()].into_iter().map(|part| (digest(&part), part)).collect();
        Self { manifest, parts }
    }

    /// The same with another manifest.
    fn with(&self, change: impl FnOnce(&mut Value)) -> Self {
        let mut manifest = self.manifest.clone();
        change(&mut manifest);
        Self { manifest, parts: self.parts.clone() }
    }

    fn text(&self) -> Vec<u8> {
        self.manifest.to_string().into_bytes()
    }

    /// The digest of its manifest, by which it is called.
    fn digest(&self) -> String {
        digest(&self.text())
    }

    /// What a registry has of it.
    fn files(&self, name: &str) -> Vec<(String, Vec<u8>)> {
        let parts = self.parts.iter().map(|(digest, part)| (format!("/v2/{name}/blobs/{digest}"), part.clone()));
        parts.chain([(format!("/v2/{name}/manifests/{}", self.digest()), self.text())]).collect()
    }

    /// Writes it into a folder in the layout of images.
    fn lay_out(&self, place: &Place, folder: &str) {
        place.write(&format!("{folder}/oci-layout"), r#"{"imageLayoutVersion": "1.0.0"}"#);
        let manifest = (self.digest(), self.text());
        for (digest, part) in self.parts.iter().map(|(d, p)| (d.clone(), p.clone())).chain([manifest]) {
            place.write(&format!("{folder}/blobs/sha256/{}", digest.trim_start_matches("sha256:")), part);
        }
        let of = json!({"mediaType": MANIFEST, "digest": self.digest(), "size": self.text().len()});
        place.write(&format!("{folder}/index.json"), json!({"schemaVersion": 2, "manifests": [of]}).to_string());
    }
}

fn with_component() -> (Place, Vec<u8>) {
    let place = Place::new();
    let bytes = fs::read(packed(&place, "evil", "0.1.0")).unwrap();
    (place, bytes)
}

fn install(place: &Place, origin: &str, more: &[&str]) -> Said {
    let said = place.call(&[&["plugin", "install", origin], more].concat());
    assert_eq!(said.err.lines().find(|line| steers(line)), None);
    said
}

#[track_caller]
fn refused(place: &Place, origin: &str, words: &[&str]) {
    install(place, origin, &[]).fails(1, words);
    assert!(!place.at(".local/share/querist/plugins/evil").exists());
}

fn is_installed(place: &Place, component: &[u8]) {
    let shown = place.good(&["plugin", "show", "evil"]);
    assert!(shown.contains(digest(component).trim_start_matches("sha256:")), "{shown}");
    place.good(&["plugin", "remove", "evil"]);
}

#[test]
fn a_component_is_installed_from_a_folder_in_the_layout_of_images() {
    let (place, component) = with_component();
    let image = Image::of(&component);
    image.lay_out(&place, "layout");
    for origin in ["layout".to_owned(), "oci:layout".to_owned(), format!("oci:layout@{}", image.digest())] {
        assert_eq!(install(&place, &origin, &[]).code, Some(0), "{origin}");
        is_installed(&place, &component);
    }
    let good = install(&place, "layout", &["--digest", &digest(&component)]);
    assert_eq!(good.code, Some(0), "a digest is that of the component: {}", good.err);
    is_installed(&place, &component);
    install(&place, "layout", &["--digest", &image.digest()]).fails(1, &["it is not what you asked for"]);
    refused(&place, &format!("oci:layout@{}", digest(b"other")), &["no such file"]);

    // A part that is another one, a link in the place of a part, and no choice between two.
    let blob = format!("layout/blobs/sha256/{}", digest(&component).trim_start_matches("sha256:"));
    place.write(&blob, &component[1..]);
    refused(&place, "layout", &["its manifest says"]);
    let mut other = component.clone();
    other[100] ^= 1;
    place.write(&blob, other);
    refused(&place, "layout", &["the image's component has the digest"]);
    fs::remove_file(place.at(&blob)).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", place.at(&blob)).unwrap();
    refused(&place, "layout", &["a link"]);
    let of = json!({"mediaType": MANIFEST, "digest": image.digest(), "size": 1});
    place.write("layout/index.json", json!({"schemaVersion": 2, "manifests": [of, of]}).to_string());
    refused(&place, "layout", &["2 images", "oci:DIR@sha256:"]);
    for (digest, words) in [("sha256:../../../etc/passwd", "no sha256 digest"), ("md5:00", "no sha256 digest")] {
        let of = json!({"mediaType": MANIFEST, "digest": digest, "size": 1});
        place.write("layout/index.json", json!({"schemaVersion": 2, "manifests": [of]}).to_string());
        refused(&place, "layout", &[words]);
    }
}

#[test]
fn a_component_is_installed_from_a_registry_by_the_digest_of_its_image() {
    let (place, component) = with_component();
    let image = Image::of(&component);
    let server = Server::of(image.files("lab/evil"));
    let origin = format!("oci://{}/lab/evil:0.1.0@{}", server.host, image.digest());
    let said = install(&place, &origin, &[]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    let asked = server.asked();
    assert_eq!(asked.len(), 2, "manifest and component: {asked:?}");
    assert_eq!(asked[0].headers["accept"], MANIFEST);
    is_installed(&place, &component);
    refused(&place, &format!("oci://{}/lab/evil@{}", server.host, digest(b"other")), &["404", "`wkg oci push` prints"]);
    let latest = format!("oci://{}/lab/evil:latest", server.host);
    install(&place, &latest, &[]).fails(2, &["by the digest of its manifest"]);
}

#[test]
fn a_registry_that_gives_everybody_a_token_is_asked_for_one() {
    let (place, component) = with_component();
    let image = Image::of(&component);
    let files: BTreeMap<_, _> = image.files("lab/evil").into_iter().collect();
    let registry = |realm: &'static str| {
        let files = files.clone();
        Server::start(move |asked| {
            let host = &asked.headers["host"];
            if asked.path.starts_with("/token?service=the%20lab&scope=repository%3Alab%2Fevil%3Apull") {
                return Reply::good(r#"{"token": "for.everybody"}"#);
            }
            if asked.headers.get("authorization").map(String::as_str) != Some("Bearer for.everybody") {
                let realm = realm.replace("HOST", host);
                let challenge = format!(
                    "Bearer realm=\"{realm}\",service=\"the lab\",scope=\"repository:lab/evil:pull\",error=\"none\""
                );
                let headers = vec![("WWW-Authenticate".to_owned(), challenge)];
                return Reply { status: "401 Unauthorized", headers, ..Reply::good("who are you?") };
            }
            files.get(&asked.path).map_or_else(Reply::nothing, |part| Reply::good(part.clone()))
        })
    };
    let origin = |server: &Server| format!("oci://{}/lab/evil@{}", server.host, image.digest());
    let server = registry("http://HOST/token");
    let said = install(&place, &origin(&server), &[]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert_eq!(server.asked().len(), 4, "two parts, one token: {:?}", server.asked());
    is_installed(&place, &component);

    for (realm, words) in [
        ("http://localhost:1/token", "another host or port, at `localhost`"),
        ("https://evil.org/token", "another host or port, at `evil.org`"),
        ("http://evil.org/token", "only https://"),
        ("file:///etc/passwd", "no address to fetch from"),
        ("http://HOST/nothing", "401"),
    ] {
        let server = registry(realm);
        let said = install(&place, &origin(&server), &[]);
        assert!(said.code == Some(1) && (said.err.contains(words) || words == "401"), "{realm}: {}", said.err);
    }
}

#[test]
fn a_registry_that_answers_with_anything_else_is_not_believed() {
    let (place, component) = with_component();
    let image = Image::of(&component);
    // Another image under the digest that was asked for.
    let (good, other) = (image.digest(), image.with(|manifest| manifest["annotations"] = json!({})));
    let swapped = Server::of([(format!("/v2/evil/manifests/{good}"), other.text())]);
    let words = ["the image's manifest has the digest", "expected"];
    refused(&place, &format!("oci://{}/evil@{good}", swapped.host), &words);
    // A component of another digest, of another length, and one that never ends.
    let blob = format!("/v2/evil/blobs/{}", digest(&component));
    let manifest = format!("/v2/evil/manifests/{good}");
    let mut changed = component.clone();
    changed[50] ^= 1;
    let longer = [&component[..], b"x"].concat();
    for (answer, words) in [
        (Reply::good(changed), "the image's component has the digest"),
        (Reply::good(&component[..50]), "has 50 bytes, its manifest says"),
        (Reply::good(longer), "sends more than"),
        (Reply::endless(), "sends more than"),
        (Reply::nothing(), "404"),
        (Reply::leads_to("https://evil.org/part"), "leads to another host or port, at `evil.org`"),
        (Reply::leads_to("http://evil.org/part"), "only https://"),
        (Reply::leads_to("/v2/evil/blobs/again"), "leads on and on"),
    ] {
        let (blob, manifest, text) = (blob.clone(), manifest.clone(), image.text());
        let server = Server::start(move |asked| match &asked.path {
            path if *path == manifest => Reply::good(text.clone()),
            path if *path == blob || path.ends_with("again") => answer.clone(),
            _ => Reply::nothing(),
        });
        refused(&place, &format!("oci://{}/evil@{good}", server.host), &[words]);
    }
    let endless = Server::start(|_| Reply::endless());
    refused(&place, &format!("oci://{}/evil@{good}", endless.host), &["sends more than 1048576 bytes"]);
}

#[test]
fn manifests_that_are_no_components_are_refused() {
    let (place, component) = with_component();
    let image = Image::of(&component);
    let many: Vec<Value> = vec![image.manifest["layers"][0].clone(); 3000];
    let cases: Vec<(Image, &str)> = vec![
        (image.with(|m| m["config"]["mediaType"] = json!("application/json")), "no component as"),
        (image.with(|m| m["layers"][0]["mediaType"] = json!("application/\u{1b}[31mtar")), "image's layer is"),
        (image.with(|m| m["layers"] = json!([])), "0 layers"),
        (image.with(|m| m["layers"] = json!(many)), "3000 layers"),
        (image.with(|m| m["layers"][0]["size"] = json!(1u64 << 60)), "its manifest says"),
        (image.with(|m| m["layers"][0]["size"] = json!(-1)), "the image's manifest"),
        (image.with(|m| m["layers"][0]["digest"] = json!("sha256:../../x")), "no sha256 digest"),
        (image.with(|m| m["schemaVersion"] = json!(1)), "schemaVersion 1"),
        (image.with(|m| m["annotations"]["x"] = json!("y".repeat(2 << 20))), "sends more than 1048576"),
        (image.with(|m| *m = json!([])), "the image's manifest"),
    ];
    for (image, words) in cases {
        let server = Server::of(image.files("evil"));
        refused(&place, &format!("oci://{}/evil@{}", server.host, image.digest()), &[words]);
    }
    let deep = "[".repeat(500_000);
    let server = Server::of([(format!("/v2/evil/manifests/{}", digest(deep.as_bytes())), deep.clone().into_bytes())]);
    refused(&place, &format!("oci://{}/evil@{}", server.host, digest(deep.as_bytes())), &["the image's manifest"]);
}

#[test]
fn a_server_leads_elsewhere_only_where_the_user_said_so() {
    let (place, component) = with_component();
    let store = Server::of([("/kept.wasm".to_owned(), component.clone())]);
    let port = store.host.rsplit_once(':').unwrap().1.to_owned();
    let elsewhere = format!("http://localhost:{port}/kept.wasm");
    let server = Server::start(move |asked| match asked.path.as_str() {
        "/there.wasm" => Reply::leads_to(&elsewhere),
        "/here.wasm" => Reply::leads_to("/there.wasm"),
        _ => Reply::nothing(),
    });
    let digest = digest(&component);
    for path in ["/there.wasm", "/here.wasm"] {
        let said = install(&place, &server.at(path), &["--digest", &digest]);
        said.fails(1, &["leads to another host or port, at `localhost`", "--allow-host localhost"]);
        assert!(store.asked().is_empty(), "the other host is not asked");
    }
    let said = install(&place, &server.at("/here.wasm"), &["--digest", &digest, "--allow-host", "localhost"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    is_installed(&place, &component);
    let endless = Server::start(|_| Reply::endless());
    install(&place, &endless.at("/x.wasm"), &["--digest", &digest]).fails(1, &["sends more than 67108864 bytes"]);
}
