//! The library of ONNX Runtime, which only users of ONNX files have.

use std::env;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ort::environment::Environment;
use ort::logging::LogLevel;
use querist_core::LearnError;

use crate::fault::config;

/// What names the library, or its folder.
const VARIABLE: &str = "QUERIST_ONNXRUNTIME";

/// The oldest version that has what is called here.
const OLDEST: u32 = ort::MINOR_VERSION;

/// The library of ONNX Runtime: where the environment variable `QUERIST_ONNXRUNTIME` says, else beside this program.
///
/// # Errors
/// [`LearnError::Config`] with where it was looked for and how to get it.
pub fn onnx_library() -> Result<PathBuf, LearnError> {
    if let Some(said) = env::var_os(VARIABLE).filter(|said| !said.is_empty()) {
        let said = PathBuf::from(said);
        let Some(found) = in_place(&said) else {
            return config(format!(
                "{VARIABLE} is {}, where no library of ONNX Runtime is; {}",
                said.display(),
                how_to()
            ));
        };
        return Ok(found);
    }
    let places = beside(env::current_exe().ok().and_then(|this| this.canonicalize().ok()).as_deref());
    match places.iter().find_map(|place| in_place(place)) {
        Some(found) => Ok(found),
        None => {
            let looked: Vec<String> = places.iter().map(|place| place.display().to_string()).collect();
            config(format!(
                "model.name = onnx needs the library of ONNX Runtime, which is in none of {}; {}",
                looked.join(", "),
                how_to()
            ))
        }
    }
}

fn how_to() -> String {
    format!(
        "`cargo xtask setup --onnx` fetches it, or export {VARIABLE} with the path of a {} of version 1.{OLDEST} or \
         later: the Python package `onnxruntime` has one",
        file_name()
    )
}

fn file_name() -> String {
    format!("libonnxruntime{}", env::consts::DLL_SUFFIX)
}

/// The library at this path, or in this folder.
fn in_place(place: &Path) -> Option<PathBuf> {
    if place.is_file() {
        return Some(place.to_owned());
    }
    [file_name(), format!("{}.1", file_name())].map(|name| place.join(name)).into_iter().find(|file| file.is_file())
}

/// Folders that may have it: beside an installed program, or in the clone that it was built in.
fn beside(program: Option<&Path>) -> Vec<PathBuf> {
    let Some(folder) = program.and_then(Path::parent) else { return Vec::new() };
    let mut places = vec![folder.to_owned(), folder.join("onnxruntime/lib")];
    let clone = folder.ancestors().find(|folder| folder.file_name().is_some_and(|name| name == "target"));
    places.extend(clone.and_then(Path::parent).map(|root| root.join(".onnxruntime/lib")));
    places
}

/// What every session of this process shares; the first library that is loaded stays.
static LOADED: Mutex<Option<(PathBuf, Environment)>> = Mutex::new(None);

/// Loads the library.
pub(super) fn load(library: &Path) -> Result<Environment, LearnError> {
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((path, environment)) = &*loaded {
        return match path == library {
            true => Ok(environment.clone()),
            false => config(format!(
                "this process has loaded {} already, and cannot load {} beside it",
                path.display(),
                library.display()
            )),
        };
    }
    // By its own message, which names the file and the versions.
    let refused = |error: &dyn std::fmt::Display| {
        config(format!("{} cannot be used as ONNX Runtime: {error}; {}", library.display(), how_to()))
    };
    let environment = match ort::init_from(library) {
        Err(error) => return refused(&error),
        Ok(builder) => builder.with_name("querist").with_telemetry(false).build(),
    };
    match environment {
        Err(error) => refused(&error),
        Ok(environment) => {
            // What goes wrong comes back as an error; nobody asked for the rest.
            environment.set_log_level(LogLevel::Fatal);
            *loaded = Some((library.to_owned(), environment.clone()));
            Ok(environment)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_looked_for_beside_the_program_and_in_its_clone() {
        let places = |program: &str| beside(Some(Path::new(program)));
        assert!(places("/opt/q/lib/querist/querist-train").contains(&"/opt/q/lib/querist/onnxruntime/lib".into()));
        for program in ["/src/q/target/debug/querist-train", "/src/q/target/debug/deps/learn-1"] {
            assert!(places(program).contains(&"/src/q/.onnxruntime/lib".into()), "{program}");
        }
        assert_eq!(places("/usr/bin/querist-train").len(), 2);
        assert!(beside(None).is_empty());
    }

    #[test]
    fn a_folder_or_the_file_itself_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(in_place(folder.path()), None);
        let file = folder.path().join(format!("{}.1", file_name()));
        std::fs::write(&file, "").unwrap();
        assert_eq!(in_place(folder.path()), Some(file.clone()));
        assert_eq!(in_place(&file), Some(file));
    }
}
