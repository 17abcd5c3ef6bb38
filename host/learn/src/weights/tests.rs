//! What files of weights give, and what is refused.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use querist_core::config::{ModelConfig, ModelName, Stem};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use tch::Device;

use super::*;
use crate::model::ImageShape;
use crate::parameters::values;

fn architecture(name: ModelName, side: i64, stem: Option<Stem>) -> Architecture {
    querist_torchx::runtime::set_threads(1).unwrap();
    let shape = ImageShape { channels: 3, height: side, width: side };
    Architecture::new(&ModelConfig { stem, ..ModelConfig::of(name) }, shape, 10).unwrap()
}

fn model(architecture: &Architecture, seed: u64) -> Model {
    querist_torchx::random::seed(seed).unwrap();
    architecture.build(Device::Cpu).unwrap()
}

/// Tensors by name, as a file would have them.
type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

fn tensors(model: &Model, rename: impl Fn(&str) -> Option<String>) -> Tensors {
    let named = model.parameters().named();
    let kept = named.filter_map(|(name, tensor)| Some((rename(name)?, (shape(tensor), values(tensor).unwrap()))));
    kept.collect()
}

fn file(tensors: &Tensors) -> Vec<u8> {
    let bytes: BTreeMap<&str, (Vec<usize>, Vec<u8>)> = tensors
        .iter()
        .map(|(name, (shape, values))| {
            (name.as_str(), (shape.clone(), values.iter().flat_map(|v| v.to_le_bytes()).collect()))
        })
        .collect();
    let views =
        bytes.iter().map(|(name, (shape, bytes))| (*name, TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()));
    safetensors::serialize(views, None).unwrap()
}

fn bodies_are_alike(one: &Model, other: &Model) -> bool {
    let body = |model: &Model| -> Vec<Vec<f32>> {
        let named = model.parameters().named().filter(|(name, _)| !is_head(name));
        named.map(|(_, tensor)| values(tensor).unwrap()).collect()
    };
    body(one) == body(other)
}

#[test]
fn bodies_are_read_behind_every_prefix_and_heads_stay() {
    let architecture = architecture(ModelName::Resnet18By16, 32, None);
    let from = model(&architecture, 1);
    for (prefix, head) in [("", "head"), ("", "fc"), ("module.", "fc"), ("module.encoder_q.", "fc.0"), ("net.x.", "fc")]
    {
        let mut all = tensors(&from, |name| {
            let name = name.replace("head", head);
            Some(format!("{prefix}{name}"))
        });
        all.insert(format!("{prefix}bn1.num_batches_tracked"), (vec![1], vec![7.0]));
        all.insert("queue".to_owned(), (vec![2], vec![7.0, 8.0]));
        let to = model(&architecture, 2);
        assert!(!bodies_are_alike(&from, &to));
        let head_before = to.head().linear().unwrap().weight.copy();
        let said = Some(prefix).filter(|prefix| *prefix == "net.x.");
        let report = read_body(&to, &architecture, &file(&all), said).unwrap();
        assert!(bodies_are_alike(&from, &to), "{prefix}");
        assert_eq!(to.head().linear().unwrap().weight, head_before);
        assert_eq!((report.loaded, report.head), (from.parameters().named().count() - 2, 2), "{report}");
        assert_eq!(report.unexpected, ["queue"], "{report}");
    }
}

/// Names that no rule covers are nobody's, and a file with one tensor less is refused with that tensor's name.
#[test]
fn a_body_that_is_not_whole_is_refused_with_what_is_missing() {
    let architecture = architecture(ModelName::Resnet18By16, 32, None);
    let from = model(&architecture, 1);
    let refused = |all: &Tensors, prefix: Option<&str>| {
        let to = model(&architecture, 2);
        read_body(&to, &architecture, &file(all), prefix).unwrap_err().to_string()
    };
    let mut all = tensors(&from, |name| Some(name.to_owned()));
    all.remove("layer3.1.bn2.running_var");
    let error = refused(&all, None);
    assert!(error.contains("layer3.1.bn2.running_var") && error.contains("99 of 100"), "{error}");
    let mut all = tensors(&from, |name| Some(name.to_owned()));
    all.insert("conv1.weight".to_owned(), (vec![16, 3, 7, 7], vec![0.0; 16 * 3 * 49]));
    let error = refused(&all, None);
    assert!(error.contains("[16, 3, 7, 7] in the file, expected [16, 3, 3, 3]") && error.contains("stem"), "{error}");
    let all = tensors(&from, |name| Some(format!("elsewhere.{name}")));
    assert!(refused(&all, None).contains("0 of 100"));
    assert!(refused(&all, Some("nowhere.")).contains("0 of 100"));
    let mut all = tensors(&from, |name| Some(name.to_owned()));
    all.insert("bn1.bias".to_owned(), (vec![16], vec![f32::NAN; 16]));
    assert!(refused(&all, None).contains("not finite"));
}

#[test]
fn files_of_other_kinds_are_refused_with_what_to_do() {
    let architecture = architecture(ModelName::Mlp, 8, None);
    let to = model(&architecture, 2);
    let refused = |bytes: &[u8]| read_body(&to, &architecture, bytes, None).unwrap_err().to_string();
    // The start of a checkpoint of PyTorch 1.5.
    assert!(refused(b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.").contains("convert.py"));
    assert!(refused(b"PK\x03\x04, then nothing of the kind").contains("convert.py"));
    let long = [&u64::MAX.to_le_bytes()[..], b"{}"].concat();
    assert!(refused(&long).contains("at most"));
    assert!(!refused(b"").is_empty() && !refused(b"\x08\0\0\0\0\0\0\0{\"a\":1}").is_empty());
}

/// Hugging Face cuts the projection of queries, keys and values in three.
#[test]
fn transformers_of_hugging_face_are_put_together() {
    for (name, side, prefix) in [(ModelName::VitS16, 32, "vit.")] {
        let architecture = architecture(name, side, None);
        let from = model(&architecture, 1);
        let layout = &architecture.spec().layouts[1];
        let mut all = Tensors::new();
        for (ours, tensor) in from.parameters().named().filter(|(name, _)| !is_head(name)) {
            let theirs = layout.theirs(ours);
            let parts = tensor.chunk(theirs.len() as i64, 0);
            for (name, part) in theirs.iter().zip(parts) {
                all.insert(format!("{prefix}{name}"), (shape(&part), values(&part.contiguous()).unwrap()));
            }
        }
        let query = format!("{prefix}encoder.layer.3.attention.attention.query.weight");
        assert!(all.contains_key(&query) && all.len() == from.parameters().named().count() - 2 + 12 * 4, "{name:?}");
        let to = model(&architecture, 2);
        let report = read_body(&to, &architecture, &file(&all), None).unwrap();
        assert!(bodies_are_alike(&from, &to), "{report}");
        assert!(report.reading.contains("Hugging Face"), "{report}");
    }
}

#[test]
fn positions_are_interpolated_to_the_patches_there_are() {
    let (small, large) = (architecture(ModelName::VitS16, 32, None), architecture(ModelName::VitS16, 64, None));
    let from = model(&small, 1);
    {
        let (_, positions) = from.parameters().named().find(|(name, _)| *name == "pos_embed").unwrap();
        let _no_grad = tch::no_grad_guard();
        positions.shallow_clone().copy_(&Tensor::from_slice(&[5.0f32, 1.0, 1.0, 3.0, 3.0]).view([1, 5, 1]));
    }
    let to = model(&large, 2);
    read_body(&to, &large, &from.parameters().to_safetensors().unwrap(), None).unwrap();
    let (_, positions) = to.parameters().named().find(|(name, _)| *name == "pos_embed").unwrap();
    let found = values(&positions.select(2, 7).contiguous()).unwrap();
    // The class token stays; rows of the grid go from one value to the other, alike along each row.
    assert_eq!((found.len(), found[0]), (17, 5.0));
    let rows: Vec<f32> = found[1..].chunks(4).map(|row| row[0]).collect();
    assert!(found[1..].chunks(4).all(|row| row.iter().all(|v| (v - row[0]).abs() < 1e-6)), "{found:?}");
    assert!(rows.windows(2).all(|pair| pair[0] < pair[1]) && rows[0] < 1.3 && rows[3] > 2.7, "{rows:?}");
}

#[test]
fn patterns_take_numbers_and_rests() {
    let filled = |pattern: &str, theirs: &str, name: &str| matched(pattern, name).map(|found| found.filled(theirs));
    assert_eq!(filled("layer#.#.conv#", "s.-.l.=.c.-", "layer3.12.conv1").as_deref(), Some("s.2.l.12.c.0"));
    assert_eq!(
        filled("blocks.#.*", "encoder.=.*", "blocks.11.mlp.fc1.bias").as_deref(),
        Some("encoder.11.mlp.fc1.bias")
    );
    assert_eq!(filled("layer#.#.conv#", "", "layer3.1.bn1"), None);
    assert_eq!(filled("norm", "layernorm", "norm1"), None);
}

/// A file of `examples/weights/checkpoints.py`.
fn checkpoint(kind: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/data/lenet.{kind}.pth"))
}

fn lenet() -> Architecture {
    querist_torchx::runtime::set_threads(1).unwrap();
    let shape = ImageShape { channels: 1, height: 16, width: 16 };
    Architecture::new(&ModelConfig::of(ModelName::Lenet), shape, 10).unwrap()
}

fn read(path: &Path) -> Result<Model, String> {
    let architecture = lenet();
    let to = model(&architecture, 3);
    read_body(&to, &architecture, &std::fs::read(path).unwrap(), None).map_err(|error| error.to_string())?;
    Ok(to)
}

/// What libtorch reads of checkpoints: archives of plain dictionaries, with what training keeps beside the weights.
#[test]
fn archives_of_plain_dictionaries_are_read_as_they_are() {
    let zipped = read(&checkpoint("plain")).unwrap();
    assert!(bodies_are_alike(&zipped, &read(&checkpoint("wrapped")).unwrap()));
    let first = zipped.parameters().named().find(|(name, _)| *name == "conv1.bias").unwrap().1;
    // As PyTorch prints them.
    let printed = [-0.0947, 0.0198, -0.1645, -0.0451, -0.1671, -0.1692, 0.0691, 0.0082, -0.0736, -0.0881];
    assert!(values(first).unwrap().iter().zip(printed).all(|(found, printed)| (found - printed).abs() < 1e-4));
    for kind in ["module", "legacy", "settings", "script"] {
        let error = read(&checkpoint(kind)).err().unwrap_or_else(|| panic!("{kind} was read"));
        assert!(error.contains("examples/weights/convert.py"), "{kind}: {error}");
    }
}

/// The converter makes safetensors files of those, too, without PyTorch; only TorchScript has another way.
#[test]
fn the_converter_reads_every_age_of_checkpoints() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/weights/convert.py");
    let folder = tempfile::tempdir().unwrap();
    let convert = |from: &Path, to: &Path| Command::new("python3").arg(&script).args([from, to]).output();
    let zipped = read(&checkpoint("plain")).unwrap();
    for kind in ["plain", "wrapped", "module", "settings", "legacy"] {
        let new = folder.path().join(format!("{kind}.safetensors"));
        let output = match convert(&checkpoint(kind), &new) {
            Ok(output) => output,
            Err(error) => return eprintln!("skipped: no python3 ({error})"),
        };
        assert!(output.status.success(), "{kind}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(bodies_are_alike(&zipped, &read(&new).unwrap()), "{kind}");
    }
    // Every file that ends early is refused and leaves nothing behind.
    for kind in ["module", "legacy"] {
        let whole = std::fs::read(checkpoint(kind)).unwrap();
        for part in [3, 40, whole.len() / 2, whole.len() - 30] {
            let (cut, new) = (folder.path().join("cut.pth"), folder.path().join("cut.safetensors"));
            std::fs::write(&cut, &whole[..part]).unwrap();
            let output = convert(&cut, &new).unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(!output.status.success() && said.starts_with("convert.py: "), "{kind} {part}: {said}");
            assert!(!new.exists() && !said.contains("Traceback"), "{kind} {part}: {said}");
            assert!(read(&cut).is_err(), "{kind} {part}");
        }
    }
}
