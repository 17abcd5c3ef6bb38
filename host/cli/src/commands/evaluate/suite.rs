//! Suites: study files whose strategies are what a plugin is measured by.

use std::path::Path;

use anyhow::Result;
use querist_core::config::{EvaluateConfig, StudyConfig, schemas};
use querist_core::digest::sha256;
use querist_core::schema::Problem;
use querist_report::BASELINE;

use crate::config_file::ConfigFile;
use crate::exit::Usage;
use crate::people;

/// Suites that come with the program, by name.
const OWN: [(&str, &str); 2] = [
    ("quick", include_str!("../../../../../examples/suites/quick.toml")),
    ("standard", include_str!("../../../../../examples/suites/standard.toml")),
];

/// A suite, read and checked by its schema.
pub struct Suite {
    /// Its name, or its file's without the ending.
    pub name: String,
    /// SHA-256 of its text, in hex.
    pub digest: String,
    /// The study.
    pub config: StudyConfig,
    /// What else is looked at.
    pub wanted: EvaluateConfig,
    /// Where it stands, for messages.
    pub file: ConfigFile,
}

impl Suite {
    /// A suite of the program by its name, or a file.
    pub fn read(name: &str, overrides: &[String]) -> Result<Self> {
        let own = OWN.iter().find(|(known, _)| *known == name);
        let (file, name) = match own {
            Some((name, text)) => {
                (ConfigFile::of_text(format!("suite {name}"), (*text).to_owned(), overrides)?, (*name).to_owned())
            }
            None if Path::new(name).exists() => {
                let stem = Path::new(name).file_stem().map_or_else(|| name.into(), |stem| stem.to_string_lossy());
                (ConfigFile::read(Path::new(name), overrides)?, stem.into_owned())
            }
            None => {
                let known = OWN.map(|(name, _)| name).join(", ");
                let message = format!("there is no suite `{name}`: expected one of {known}, or a study file");
                return Err(Usage(message).into());
            }
        };
        people::refuse_study(&file)?;
        let config: StudyConfig = file.check(&schemas()["study"])?;
        if !config.strategies.iter().any(|strategy| strategy.label() == BASELINE) {
            let message = format!(
                "suite `{name}` has no `{BASELINE}`, which every verdict is measured by: put {{ id = \"{BASELINE}\" }} \
                 among its strategies"
            );
            return Err(Usage(message).into());
        }
        if !config.search.is_empty() {
            let problem = Problem {
                pointer: "/search".to_owned(),
                message: "a suite measures by settings that stand in it".to_owned(),
                help: Some("write them among its `strategies`, or search with `querist study run`".to_owned()),
            };
            return Err(file.report(&[problem], "").into());
        }
        let wanted = config.evaluate.clone().unwrap_or_default();
        Ok(Self { digest: sha256(file.text().as_bytes()), name, config, wanted, file })
    }

    /// The first so many seeds of the suite, and as many other numbers as it lacks.
    pub fn take_seeds(&mut self, count: usize) {
        let seeds = &mut self.config.seeds;
        let more: Vec<u64> =
            (0..).filter(|seed| !seeds.contains(seed)).take(count.saturating_sub(seeds.len())).collect();
        seeds.extend(more);
        seeds.truncate(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_suites_of_the_program_are_suites() {
        for (name, _) in OWN {
            let suite = Suite::read(name, &[]).unwrap();
            let learners = &suite.config.axes["learner"];
            assert!(learners.len() >= 2 && suite.config.axes["pool"].len() == 5, "{name}");
            assert!(suite.config.seeds.len() >= 5 && suite.wanted.nearest >= 1, "{name}");
            suite.config.cells().unwrap();
        }
    }

    #[test]
    fn seeds_are_taken_and_added() {
        let mut suite = Suite::read("quick", &["seeds=[7, 1]".to_owned()]).unwrap();
        suite.take_seeds(5);
        assert_eq!(suite.config.seeds, [7, 1, 0, 2, 3]);
        suite.take_seeds(1);
        assert_eq!(suite.config.seeds, [7]);
    }
}
