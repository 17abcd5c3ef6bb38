//! Writes valid inputs of every fuzz target, from which a fuzzer starts: `cargo run -p querist-fuzz-targets --example
//! seeds` replaces those that lie in `fuzz/corpus/TARGET/seed-*`; what a fuzzer has found there stays.

use std::fs;
use std::io::{Cursor, Write};
use std::mem::offset_of;
use std::path::Path;

use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use object::write::Object;
use object::{Architecture, BinaryFormat, Endianness, SectionKind};
use querist_protocol::abi::{self, Identity};
use serde_json::json;
use sha2::{Digest, Sha256};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

/// Bytes of an identity section, with its texts at their places.
fn identity() -> Vec<u8> {
    let mut bytes = vec![0; size_of::<Identity>()];
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    put(offset_of!(Identity, magic), &abi::IDENTITY_MAGIC);
    put(offset_of!(Identity, size), &(size_of::<Identity>() as u32).to_le_bytes());
    put(offset_of!(Identity, abi_major), &abi::ABI_MAJOR.to_le_bytes());
    put(offset_of!(Identity, abi_minor), &abi::ABI_MINOR.to_le_bytes());
    put(offset_of!(Identity, package), b"two-words");
    put(offset_of!(Identity, version), b"1.2.3");
    put(offset_of!(Identity, compiler), b"rustc 1.95.0");
    put(offset_of!(Identity, target), b"x86_64-unknown-linux-gnu");
    bytes
}

/// A native library with one section of ours.
fn library(architecture: Architecture, section: &[u8]) -> Vec<u8> {
    let mut file = Object::new(BinaryFormat::Elf, architecture, Endianness::Little);
    let id = file.add_section(Vec::new(), abi::IDENTITY_SECTION.as_bytes().to_vec(), SectionKind::ReadOnlyData);
    file.append_section_data(id, section, 8);
    file.write().expect("it is written to memory")
}

/// What compilers make; the four bytes that say what it is are the target's.
fn artifacts() -> Vec<Vec<u8>> {
    let identity = identity();
    let libraries = [
        library(Architecture::X86_64, &identity),
        library(Architecture::Aarch64, &identity),
        library(Architecture::X86_64, &identity[..40]),
    ];
    let mut artifacts: Vec<Vec<u8>> = libraries.iter().map(|file| [&[0][..], &file[4..]].concat()).collect();
    // A component with a description and an import; a module with an import, an export and its producers.
    artifacts
        .push(b"\x01\x0d\0\x01\0\0\x13\x10querist:manifest{}\0\x08\x07authorsM\x0a\x0a\x01\0\x03a:b\x01\0".to_vec());
    artifacts.push(
        b"\x01\x01\0\0\0\x01\x04\x01\x60\0\0\x02\x07\x01\x01a\x01b\0\0\x07\x05\x01\x01c\0\0\0\x1a\x09producers\x01\x08language\x01\x01C\x0217"
            .to_vec(),
    );
    artifacts
}

/// Files of answers of each format, after the byte that says which.
fn answers() -> Vec<Vec<u8>> {
    let table = "id,name,label,annotator,seconds\n40,a.jpg,cat,ann,2.5\n7,,__none__,,\n19,,,,\n";
    let folder = "0001-40-a.jpg\ncat/0002-7-a.jpg\n__unsure__/0003-19-c.png\nbirds/x.png\n";
    let choice = json!([{ "type": "choices", "value": { "choices": ["dog"] } }]);
    let tasks = json!([
        { "id": 1, "data": { "querist_id": 40 }, "annotations": [{ "id": 2, "completed_by": 3, "result": choice }] },
        { "id": 2, "querist_id": "7", "label": "cat", "annotator": 3, "lead_time": 1.5 },
    ]);
    let coco = json!({
        "images": [{ "id": 1, "file_name": "0001-40-a.jpg" }],
        "categories": [{ "id": 1, "name": "dog" }],
        "annotations": [{ "id": 1, "image_id": 1, "category_id": 1 }],
    });
    let cvat = "<annotations><image id=\"0\" name=\"0003-19-c.png\"><tag label=\"cat\"/></image></annotations>";
    let fiftyone = json!({ "classes": ["cat", "dog"], "labels": { "0002-7-a": 1, "0003-19-c": null } });
    let (tasks, coco, fiftyone) = (tasks.to_string(), coco.to_string(), fiftyone.to_string());
    let texts = [table, folder, &tasks, &coco, cvat, &fiftyone];
    texts.into_iter().enumerate().map(|(form, text)| [&[form as u8], text.as_bytes()].concat()).collect()
}

fn main() {
    let schemas = [
        json!({"type": "object", "additionalProperties": false, "properties": {
            "first": {"type": "string", "enum": ["max-norm", "random"], "default": "max-norm"},
            "members": {"type": "integer", "minimum": 1, "maximum": 100, "default": 5},
            "rate": {"type": "number", "exclusiveMinimum": 0, "default": 0.5}}}),
        json!({"$defs": {"a": {"type": "object", "properties": {"b": {"type": "array", "default": [1, 2]}}}},
            "properties": {"x": {"$ref": "#/$defs/a", "default": {}}}, "required": ["x"]}),
        json!({"anyOf": [{"const": "a"}, {"type": "object", "oneOf": [{"required": ["a"]}, {"required": ["b"]}]}]}),
        json!({"allOf": [{"properties": {"a": {"default": {"b": 1}, "properties": {"c": {"default": 2}}}}}, {"if":
            {"required": ["a"]}, "then": {"minProperties": 2}, "else": {"patternProperties": {"^x+y?$": false}}}]}),
        json!({"properties": {"list": {"type": "array", "items": {"properties": {"k": {"default": 0}}}, "maxItems": 9,
            "uniqueItems": true, "contains": {"type": "object"}}}, "dependentSchemas": {"list": {"required": ["z"]}}}),
        json!(true),
    ];
    let values =
        [json!({}), json!({"first": "none", "members": 0, "x": 1}), json!({"list": [{}, {"k": 1}]}), json!([1])];
    let pairs =
        schemas.iter().enumerate().map(|(at, schema)| format!("{schema}\0{}", values[at % values.len()]).into_bytes());
    write("schema", pairs.collect());

    let needs = [
        "logits",
        "penultimate",
        "labelled.penultimate",
        "mc_log_probs(T=10)",
        "mc_log_probs(T=20, seed=1)",
        "head",
        "mc_log_probs(T=1, or=oracle.labels)",
        "target.mc_log_probs(T=10, n=100)",
        "fixed_embeddings(or=penultimate)",
        "labelled.labels",
        "calibration.logits",
        "images(u8)",
        "ensemble.log_probs(members=5)",
        "synthetic_images",
    ];
    write("needs", needs.map(|need| need.as_bytes().to_vec()).into());

    let description = |schema: &serde_json::Value| {
        json!({"package": "two-words", "version": "1.2.3", "api": "1.1", "strategies": [{"id": "margin", "summary":
            "Small margins", "paper": "Nobody, Nowhere, 2020", "cost": "O(N C)", "scorer": true, "aliases": ["Margin"],
            "needs": ["logits", "mc_log_probs(T=10)"], "capabilities": ["oracle-labels"], "schema": schema}]})
    };
    let mut forms: Vec<Vec<u8>> =
        schemas.iter().map(|schema| [&[0][..], description(schema).to_string().as_bytes()].concat()).collect();
    let manifest = |kind: &str, artifact: &str| {
        let text = format!(
            "manifest = 1\npackage = \"two-words\"\nversion = \"1.2.3\"\nkind = \"{kind}\"\napi = \"0.1\"\nartifact = \
             \"{artifact}\"\n[[strategy]]\nid = \"margin\"\nsummary = \"s\"\npaper = \"p\"\nscorer = true\nneeds = \
             [\"logits\"]\nschema = \"schema.json\"\n\0{}",
            schemas[0]
        );
        [&[2][..], text.as_bytes()].concat()
    };
    forms.extend([manifest("wasm", "a.wasm"), manifest("native", "a.so"), manifest("composite", "a.toml")]);
    forms.push(b"\x01\0asm\x0d\0\x01\0\0\x13\x10querist:manifest{}".to_vec());
    write("description", forms);

    write("artifact", artifacts());

    let answer = |head: &str, numbers: &[u8]| [&[10, 0][..], head.as_bytes(), b"\n", numbers].concat();
    let numbers: Vec<u8> = [&[0; 8][..], &1f64.to_le_bytes(), &2f64.to_le_bytes(), b"{}"].concat();
    let figures = "[[\"gap\",4607182418800017408]]";
    write(
        "worker",
        vec![
            answer("{\"Answer\":{\"rows\":2,\"scores\":2,\"state\":2,\"figures\":[]}}", &numbers),
            answer(
                &format!("{{\"Answer\":{{\"rows\":2,\"scores\":0,\"state\":null,\"figures\":{figures}}}}}"),
                &numbers,
            ),
            answer("{\"Progress\":{\"done\":1,\"total\":2}}\n{\"Log\":{\"level\":1,\"message\":\"m\"}}\n", b""),
            answer("{\"Needs\":{\"needs\":[\"logits\",\"oracle.labels\"]}}", b""),
            answer("{\"Failed\":{\"kind\":\"memory\",\"message\":\"m\"}}", b""),
            answer("{\"Forbidden\":{\"call\":41}}", b""),
        ],
    );

    write("arrays", arrays());
    let (pictures, archives) = (pictures(), archives());
    write("pictures", pictures);
    write("archives", archives);
    write("shards", shards());
    let of_others = of_others();
    let seeds = |part: &str, head: &[u8]| -> Vec<Vec<u8>> {
        let files = of_others.iter().filter(|(name, _)| name.contains(part));
        files.map(|(_, bytes)| [head, bytes].concat()).collect()
    };
    let pickles = [seeds(".pkl", &[0]), seeds("data_batch_1", &[1]), seeds("refused/", &[1])].concat();
    write("pickles", pickles);
    write("matlab", seeds(".mat", &[]));
    write("answers", answers());
    write("tables", seeds(".parquet", &[]));
    write("offer", offers());
    // File, how, place, bytes that go, bytes that come.
    let edits: [&[u8]; 8] = [
        b"",
        b"\x05\x02\x00\x00\x00\x00",
        b"\x06\x02\x10\x00\x01\x019",
        b"\x05\x02\x0d\x00\x01\x0299",
        b"\x01\x02\x60\x00\x01\x02ab",
        b"\x07\x02\x10\x00\x04\x04\xff\xff\xff\xff",
        b"\x0a\x02\x00\x00\x01\x01\xff",
        b"\x04\x02\x02\x00\x01\x02..\x09\x00\x00\x00\x00\x00",
    ];
    write("run_folder", edits.map(<[u8]>::to_vec).into());
}

fn write(target: &str, seeds: Vec<Vec<u8>>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    fs::create_dir_all(&folder).expect("the folder is ours");
    for (at, seed) in seeds.iter().enumerate() {
        fs::write(folder.join(format!("seed-{at:02}")), seed).expect("the folder is ours");
    }
}

fn npy(descr: &str, fortran: bool, shape: &str, bytes: &[u8]) -> Vec<u8> {
    let fortran = if fortran { "True" } else { "False" };
    let mut header = format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}");
    while !(10 + header.len() + 1).is_multiple_of(64) {
        header.push(' ');
    }
    header.push('\n');
    let mut file = b"\x93NUMPY\x01\0".to_vec();
    file.extend_from_slice(&(header.len() as u16).to_le_bytes());
    file.extend_from_slice(header.as_bytes());
    file.extend_from_slice(bytes);
    file
}

fn arrays() -> Vec<Vec<u8>> {
    let bytes: Vec<u8> = (0..48).collect();
    let plain = npy("<f4", false, "(3, 4)", &[0; 48]);
    let mut seeds = vec![
        [&[0, 0][..], &plain].concat(),
        [&[0, 0][..], &npy(">f8", true, "(2, 3)", &[0; 48])].concat(),
        [&[0, 1][..], &npy("|u1", false, "(48,)", &bytes)].concat(),
        [&[0, 2][..], &npy("<i8", false, "(6,)", &[0; 48])].concat(),
        [&[0, 0][..], &npy("<f2", false, "(2, 3, 4)", &[0; 48])].concat(),
        [&[0, 0][..], &npy("<f4", false, "(4294967296, 0)", b"")].concat(),
    ];
    for (method, want) in [(zip::CompressionMethod::Stored, 0), (zip::CompressionMethod::Deflated, 2)] {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, array) in [("x.npy", plain.clone()), ("y.npy", npy("<u4", false, "(12,)", &bytes))] {
            zip.start_file(name, SimpleFileOptions::default().compression_method(method)).expect("memory");
            zip.write_all(&array).expect("memory");
        }
        let zip = zip.finish().expect("memory").into_inner();
        seeds.extend([[&[1, want][..], &zip].concat(), [&[3, want][..], &zip].concat()]);
    }
    for (dtype, shape, want) in [("F32", "[3,4]", 0), ("U64", "[6]", 2), ("BF16", "[2,12]", 0), ("I16", "[24]", 1)] {
        let header = format!("{{\"x\":{{\"dtype\":\"{dtype}\",\"shape\":{shape},\"data_offsets\":[0,48]}}}}");
        let length = (header.len() as u64).to_le_bytes();
        seeds.push([&[2, want][..], &length, header.as_bytes(), &[0; 48]].concat());
    }
    seeds
}

fn picture(format: ImageFormat, image: &DynamicImage) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).expect("memory");
    bytes.into_inner()
}

fn pictures() -> Vec<Vec<u8>> {
    let colours = DynamicImage::from(RgbImage::from_fn(9, 7, |x, y| Rgb([x as u8 * 20, y as u8 * 30, 128])));
    let mut seeds = Vec::new();
    for image in [colours.clone(), colours.to_luma8().into(), colours.to_rgba8().into(), colours.to_luma16().into()] {
        seeds.push([&[0][..], &picture(ImageFormat::Png, &image)].concat());
    }
    for image in [colours.clone(), colours.to_luma8().into()] {
        seeds.push([&[1][..], &picture(ImageFormat::Jpeg, &image)].concat());
    }
    seeds
}

/// What is installed, each after the byte that says what it is.
fn offers() -> Vec<Vec<u8>> {
    let component = b"component";
    let digest: String = Sha256::digest(component).iter().map(|byte| format!("{byte:02x}")).collect();
    let part = |kind: &str, size: usize| json!({"mediaType": kind, "digest": format!("sha256:{digest}"), "size": size});
    let config = part("application/vnd.wasm.config.v0+json", 2);
    let layer = part("application/wasm", component.len());
    let image = json!({"schemaVersion": 2, "config": config, "layers": [layer]}).to_string();
    let signature = "untrusted comment: signature from minisign secret key\n\
                     RUQf6LRCGA9i559r3g7V1qNyJDApGip8MfqcadIgT9CuhV3EMhHoN1mGTkUidF/z7SrlQgXdy8ofjb7bNJJylDOocrCo8KLzZwo=\n\
                     trusted comment: timestamp:1633700835\tfile:test\tprehashed\n\
                     wLMDjy9FLAuxZ3q4NlEvkgtyhrr0gtTu6KC4KBJdITbbOeAi1zBIYo0v4iTgt8jJpIidRJnp94ABQkJAgAooBQ==\n";
    let plugin = format!(
        "name = \"apart\"\nsummary = \"Margins\"\nsource = \"https://lab.org\"\n[[version]]\nversion = \"0.1.0\"\n\
         commit = \"8c1f\"\nfile = \"a.wasm\"\ndigest = \"sha256:{digest}\"\napi = \"0.2\"\nquerist = \">=0.1\"\n"
    );
    let challenge = "Bearer realm=\"https://ghcr.io/token\",service=\"ghcr.io\",scope=\"repository:a/b:pull\"";
    let mut archive = tar::Builder::new(Vec::new());
    for name in ["a/plugin.toml", "a/a.wasm"] {
        let mut header = tar::Header::new_gnu();
        header.set_size(4);
        archive.append_data(&mut header, name, &b"text"[..]).expect("memory");
    }
    let archive = archive.into_inner().expect("memory");
    vec![
        [&[0][..], &archive].concat(),
        [&[1], image.as_bytes(), &[0], component].concat(),
        [&[2], signature.as_bytes()].concat(),
        [&[3], plugin.as_bytes()].concat(),
        [&[4], challenge.as_bytes()].concat(),
        format!("\u{5}oci://ghcr.io/lab/apart:0.1@sha256:{digest}").into_bytes(),
        format!("\u{5}oci:folder@sha256:{digest}").into_bytes(),
        b"\x05https://lab.org:443/a.wasm?b=c".to_vec(),
    ]
}

/// Type, how the length is told, lengths of name and content (65535: the good picture), name, content.
fn member(kind: u8, told: u8, name: &str, content: Option<&[u8]>) -> Vec<u8> {
    let length = content.map_or(u16::MAX, |content| content.len() as u16);
    let head = [kind, told, name.len() as u8, length as u8, (length >> 8) as u8];
    [&head[..], name.as_bytes(), content.unwrap_or_default()].concat()
}

fn archives() -> Vec<Vec<u8>> {
    let two = [member(b'0', 7, "a/1.png", None), member(b'0', 7, "b/1.png", None)].concat();
    let split: Vec<u8> = ["train/a/1.png", "train/b/1.png", "test/a/1.png", "test/b/1.png"]
        .iter()
        .flat_map(|name| member(b'0', 7, name, None))
        .collect();
    let long = [member(b'L', 7, "././@LongLink", Some(&[b'c'; 200])), member(b'0', 7, "c/2.png", None)].concat();
    let pax = [member(b'x', 7, "pax", Some(b"20 path=a/long.png\n\n")), member(b'0', 7, "x", None)].concat();
    let links = [member(b'2', 7, "a/link.png", Some(b"")), member(b'1', 7, "a/hard.png", Some(b""))].concat();
    let lying = [member(b'L', 2, "././@LongLink", Some(b"x")), member(b'0', 1, "a/3.png", None)].concat();
    let outside = [member(b'0', 7, "../../x.png", None), member(b'0', 7, "/etc/x.png", None)].concat();
    let tars = [two.clone(), split, long, pax, links, lying, outside];
    let tars = tars.iter().flat_map(|more| [[&[1][..], &two, more].concat(), [&[3][..], &two, more].concat()]);
    // Files as they come.
    tars.chain(zips().into_iter().map(|zip| [&[0][..], &zip].concat())).collect()
}

/// Members of shards: pictures with their labels in each form, and what is wrong with them.
fn shards() -> Vec<Vec<u8>> {
    let sample = |key: &str, ending: &str, label: &[u8]| {
        [member(b'0', 7, &format!("{key}.png"), None), member(b'0', 7, &format!("{key}.{ending}"), Some(label))]
            .concat()
    };
    let numbers = [sample("a", "cls", b"0"), sample("b", "cls", b"1"), sample("c", "cls", b"1")].concat();
    let names = [sample("a", "json", br#"{"label": "cat"}"#), sample("b", "json", br#"{"cls": "dog"}"#)].concat();
    let apart =
        [member(b'0', 7, "a.cls", Some(b"0")), member(b'0', 7, "b.png", None), sample("a", "cls", b"1")].concat();
    let twice = [sample("a", "cls", b"0"), sample("a", "cls", b"1")].concat();
    let deep =
        [sample("x/a", "cls", b"0"), sample("../b", "cls", b"-1"), sample("c.d", "seg.cls", b"9999999")].concat();
    let empty = [sample("a", "json", b"{"), sample("b", "cls", b"")].concat();
    let all = [numbers, names, apart, twice, deep, empty];
    all.iter().flat_map(|members| [[&[1][..], members].concat(), [&[3][..], members].concat()]).collect()
}

/// Small files that the tools of others wrote, by name.
fn of_others() -> Vec<(String, Vec<u8>)> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../host/data/tests/formats/formats.tar.gz");
    let packed = fs::File::open(file).expect("it is checked in");
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(packed));
    let mut files = Vec::new();
    for entry in archive.entries().expect("it is an archive") {
        let mut entry = entry.expect("it is whole");
        let name = entry.path().expect("it has a name").display().to_string();
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut bytes).expect("it is whole");
        files.push((name, bytes));
    }
    files
}

fn zips() -> [Vec<u8>; 2] {
    let png = picture(ImageFormat::Png, &RgbImage::from_pixel(4, 4, Rgb([255; 3])).into());
    [zip::CompressionMethod::Stored, zip::CompressionMethod::Deflated].map(|method| {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        for name in ["set/a/1.png", "set/b/1.png", "__MACOSX/set/a/._1.png"] {
            zip.start_file(name, SimpleFileOptions::default().compression_method(method)).expect("memory");
            zip.write_all(&png).expect("memory");
        }
        zip.finish().expect("memory").into_inner()
    })
}
