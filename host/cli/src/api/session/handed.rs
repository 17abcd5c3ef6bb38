//! Who stands in the place of learner, oracle and observer where the loop is somebody else's.

use std::collections::BTreeMap;

use querist_core::observer::FinishedRound;
use querist_core::progress::Progress;
use querist_core::{
    Acquisition, Array, Dataset, FeatureTask, FitTask, Fitted, Given, Head, Label, LearnError, Learner, Observer,
    Oracle, OracleError, Outcome, SampleId,
};
use querist_protocol::{Need, TrainOverrides};

use super::BACKEND;
use crate::run_folder::RunFolder;

/// Arrays that somebody handed in, in the place of a learner that computes them.
pub struct Handed<'a> {
    given: &'a Given,
}

impl<'a> Handed<'a> {
    pub fn new(given: &'a Given) -> Self {
        Self { given }
    }
}

fn nothing_trains<T>() -> Result<T, LearnError> {
    Err(LearnError::Config("a session trains nothing itself".to_owned()))
}

impl Learner for Handed<'_> {
    fn check_needs(&self, _: &[Need]) -> Result<(), LearnError> {
        Ok(())
    }

    fn fit(&mut self, _: FitTask<'_>, _: &dyn Progress) -> Result<Fitted, LearnError> {
        nothing_trains()
    }

    fn restore(&mut self, _: &[u8], _: &TrainOverrides) -> Result<(), LearnError> {
        nothing_trains()
    }

    fn logits(&mut self, _: &[SampleId], _: &dyn Progress) -> Result<Vec<f32>, LearnError> {
        nothing_trains()
    }

    fn features(&mut self, task: FeatureTask<'_>, _: &dyn Progress) -> Result<BTreeMap<String, Array>, LearnError> {
        let array = |need: &Need| match self.given.get(need.name()) {
            Some(array) => Ok((need.name().to_owned(), array.clone())),
            None => Err(LearnError::Need { need: need.to_string(), reason: "it was not given".to_owned() }),
        };
        // The head is asked for by itself.
        task.needs.iter().filter(|need| need.name() != querist_protocol::names::HEAD).map(array).collect()
    }

    fn head(&self) -> Option<std::sync::Arc<dyn Head>> {
        self.given.head()
    }

    fn model(&self) -> Result<Vec<u8>, LearnError> {
        nothing_trains()
    }

    fn backend(&self) -> String {
        BACKEND.to_owned()
    }

    fn take_peak_memory(&mut self) -> Option<u64> {
        None
    }
}

/// Labels that somebody told, of exactly the batch in its order.
pub struct Told(pub Option<Vec<(SampleId, Label)>>);

impl Oracle for Told {
    fn label(&mut self, acquired: &Acquisition) -> Result<Vec<(SampleId, Outcome)>, OracleError> {
        let labels = self.0.take().unwrap_or_default();
        if labels.iter().map(|(sample, _)| sample).eq(acquired.ids()) {
            return Ok(labels.into_iter().map(|(sample, label)| (sample, label.into())).collect());
        }
        Err(OracleError("the labels are not those of the batch".to_owned()))
    }
}

/// Makes rounds durable.
pub struct Keeper<'a> {
    /// Where, once there is a folder.
    pub folder: Option<&'a RunFolder>,
    pub dataset: &'a Dataset,
    pub progress: &'a dyn Progress,
}

impl Observer for Keeper<'_> {
    fn progress(&self) -> &dyn Progress {
        self.progress
    }

    fn round_done(&mut self, round: &FinishedRound<'_>) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let folder = self.folder.ok_or("the session has no folder yet")?;
        folder.commit(round, self.dataset).map_err(|error| format!("{error:#}").into())
    }
}
