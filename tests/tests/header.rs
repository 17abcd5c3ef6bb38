//! `querist.h` is what the tables say, and a plugin in C that uses it works.

use std::fs;
use std::path::Path;
use std::process::Command;

use cbindgen::{Builder, Config, DocumentationStyle, EnumConfig, ExportConfig, Language, Style};
use querist_data::arrays::write_npy;
use querist_protocol::philox::Stream;
use querist_tests::cli::Place;
use querist_tests::workspace;
use serde_json::Value;

const HEADER: &str = "plugin-sdk/include/querist.h";

fn generate() -> String {
    let config = Config {
        language: Language::C,
        style: Style::Both,
        cpp_compat: true,
        include_guard: Some("QUERIST_H".to_owned()),
        no_includes: true,
        sys_includes: ["stdbool.h", "stddef.h", "stdint.h"].map(str::to_owned).to_vec(),
        header: Some(
            "// The boundary of native plugins for Querist. Made from plugin-sdk/wit and \
             plugin-sdk/protocol/src/abi.rs;\n\
             // do not edit.\n\
             //\n\
             // A plugin exports `querist_plugin_v2` and one QUERIST_IDENTITY, and is packed by `querist plugin pack`."
                .to_owned(),
        ),
        trailer: Some(IDENTITY_MACRO.to_owned()),
        documentation_style: DocumentationStyle::C99,
        line_length: 120,
        export: ExportConfig {
            prefix: Some("Querist".to_owned()),
            include: ["HostApi", "PluginApi", "Identity", "Entry"].map(str::to_owned).to_vec(),
            exclude: ["ENTRY", "IDENTITY_SECTION", "IDENTITY_MAGIC"].map(str::to_owned).to_vec(),
            ..ExportConfig::default()
        },
        enumeration: EnumConfig::default(),
        ..Config::default()
    };
    let mut text = Vec::new();
    let source = |name| workspace().join("plugin-sdk/protocol/src").join(name);
    let builder = Builder::new().with_config(config).with_src(source("abi.rs"));
    builder.with_src(source("generated/table.rs")).generate().expect("the tables are C").write(&mut text);
    String::from_utf8(text).unwrap()
}

/// What a plugin in C writes once to say who it is.
const IDENTITY_MACRO: &str = r#"
// Says who the plugin is; once in a plugin, at the top level. PACKAGE, VERSION and TARGET are string literals.
#define QUERIST_IDENTITY(PACKAGE, VERSION, TARGET)                                                     \
  __attribute__((used, section(".querist"))) static const QueristIdentity querist_identity = {         \
      {'Q', 'U', 'E', 'R', 'I', 'S', 'T', 0},                                                          \
      sizeof(QueristIdentity),                                                                         \
      QueristABI_MAJOR,                                                                                \
      QueristABI_MINOR,                                                                                \
      QueristPANIC_NONE,                                                                               \
      QueristTIER_PLAIN,                                                                               \
      0,                                                                                               \
      0,                                                                                               \
      PACKAGE,                                                                                         \
      VERSION,                                                                                         \
      "C " __VERSION__,                                                                                \
      TARGET,                                                                                          \
      "",                                                                                              \
      {0}}
"#;

#[test]
fn the_header_is_what_the_tables_say() {
    let path = workspace().join(HEADER);
    let text = generate();
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(&path, &text).unwrap();
    }
    let checked_in = fs::read_to_string(&path).unwrap_or_default();
    assert!(checked_in == text, "{HEADER} is not up to date: run this test with UPDATE_EXPECT=1");
}

fn compile(compiler: &str, source: &Path, library: &Path, more: &[&str]) {
    let output = Command::new(compiler)
        .args(["-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror", "-fvisibility=hidden"])
        .args(more)
        .arg("-I")
        .arg(workspace().join("plugin-sdk/include"))
        .arg(source)
        .arg("-o")
        .arg(library)
        .arg("-lm")
        .output()
        .expect("a C compiler");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_example_in_c_picks_the_largest_norms_by_kernel_and_by_dlpack() {
    let place = Place::new();
    let source = workspace().join("plugin-sdk/templates/c/largest_norm.c");
    let library = place.at("largest_norm.so");
    // The header is C++ too.
    compile("c++", &source, &library, &["-x", "c++", "-Wno-missing-field-initializers"]);
    compile("cc", &source, &library, &["-std=c11"]);
    place.good(&["plugin", "pack", "--allow-native", "largest_norm.so", "--out", "packed"]);
    let shown = place.good(&["plugin", "show", "largest-norm", "--plugin-dir", "packed"]);
    assert!(shown.contains("native") && shown.contains("embeddings"), "{shown}");
    place.good(&["plugin", "check", "packed", "--isolate"]);

    let (rows, columns) = (500, 24);
    let mut stream = Stream::new(8, 0);
    let values: Vec<f32> = (0..rows * columns).map(|_| stream.next_uniform() as f32 - 0.5).collect();
    let norm = |row: usize| -> f64 {
        values[row * columns..][..columns].iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt()
    };
    let mut expected: Vec<usize> = (0..rows).collect();
    expected.sort_by(|&a, &b| norm(b).total_cmp(&norm(a)).then(a.cmp(&b)));
    write_npy(&place.at("embeddings.npy"), &[rows, columns], &values).unwrap();
    for how in ["by=kernel", "by=dlpack"] {
        let answer = place.good(&[
            "select",
            "--strategy",
            "largest-norm",
            "--plugin-dir",
            "packed",
            "--isolate",
            "--budget",
            "25",
            "--seed",
            "0",
            "--input",
            "embeddings=embeddings.npy",
            "--param",
            how,
            "--format",
            "json",
        ]);
        let answer: Value = serde_json::from_str(&answer).unwrap();
        let picked: Vec<usize> = serde_json::from_value(answer["rows"].clone()).unwrap();
        assert_eq!(picked, expected[..25], "{how}");
        let scores: Vec<f64> = serde_json::from_value(answer["scores"].clone()).unwrap();
        assert!(picked.iter().zip(scores).all(|(&row, score)| (score - norm(row)).abs() < 1e-9), "{how}");
    }
    let refused = place.call(&[
        "select",
        "--strategy",
        "largest-norm",
        "--plugin-dir",
        "packed",
        "--isolate",
        "--budget",
        "3",
        "--seed",
        "0",
        "--input",
        "embeddings=embeddings.npy",
        "--param",
        "by=magic",
    ]);
    assert_eq!(refused.code, Some(2), "{}", refused.err);
}
