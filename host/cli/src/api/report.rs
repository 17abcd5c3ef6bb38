//! `querist report` as a function.

use std::path::{Path, PathBuf};

use anyhow::Result;
use querist_report::{PageOptions, Report};

use crate::commands::report::{self as verb, MOST_PICTURES};

/// What is reported of some runs, in every form.
pub struct Reported {
    report: Report,
}

/// Reads the runs in these folders and below them.
///
/// # Errors
/// If a folder holds none, or one that was changed.
pub fn report(folders: &[PathBuf], curves_by: &[String]) -> Result<Reported> {
    Ok(Reported { report: verb::load(folders, MOST_PICTURES, curves_by)? })
}

impl Reported {
    /// The table that people read.
    pub fn text(&self) -> String {
        querist_report::table(&self.report)
    }

    /// One row a run and round, as CSV with a header.
    ///
    /// # Errors
    /// If a text of a run cannot be written down.
    pub fn csv(&self) -> Result<String> {
        let mut csv = Vec::new();
        querist_report::csv(&self.report, &mut csv)?;
        Ok(String::from_utf8(csv)?)
    }

    /// Every number of every table, and the records, as JSON.
    ///
    /// # Errors
    /// As for [`Self::csv`].
    pub fn json(&self) -> Result<String> {
        Ok(querist_report::json_text(&self.report)?)
    }

    /// Every table in Markdown.
    pub fn markdown(&self) -> String {
        querist_report::markdown(&self.report)
    }

    /// Every table in LaTeX.
    pub fn latex(&self) -> String {
        querist_report::latex(&self.report)
    }

    /// One self-contained page.
    ///
    /// # Errors
    /// As for [`Self::csv`].
    pub fn html(&self) -> Result<String> {
        Ok(querist_report::html(&self.report, &PageOptions::default())?)
    }

    /// Writes the page to a file.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write_html(&self, path: &Path) -> Result<()> {
        verb::write(path, self.html()?.as_bytes())
    }
}
