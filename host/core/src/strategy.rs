//! A query strategy as the loop sees it.

use querist_protocol::{Capability, Need, Selection, names};
use serde::{Deserialize, Serialize};

use crate::acquisition::{Acquisition, ContractError};
use crate::failure::QueryError;
use crate::identity::StrategyIdentity;
use crate::question::{Arrays, Granted, Query, Question};
use crate::training::TrainingHooks;

/// A strategy's answer with what it cost.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Answer {
    /// The picks, not yet checked.
    pub selection: Selection,
    /// What it cost.
    pub usage: Usage,
    /// What the host's own code says beside; code of plugins has no part in it.
    pub beside: Beside,
}

impl Answer {
    /// The samples that were selected, once this is known to be an answer to the question: where constraints of the
    /// user's left fewer rows, it may be short.
    ///
    /// # Errors
    /// As for [`Acquisition::check`].
    pub fn check(&self, question: &Question<'_>) -> Result<Acquisition, ContractError> {
        let found = self.selection.rows.len();
        let batch = if self.beside.is_short { question.batch().min(found) } else { question.batch() };
        Acquisition::check(&self.selection, question.arrays().ids(), batch)
    }
}

/// What the host's own code says beside an answer.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Beside {
    /// Whether constraints of the user's left fewer rows than were wanted. Only then may an answer be short.
    pub is_short: bool,
    /// What each term of a sum added to each pick, by the names of the terms.
    pub terms: Vec<(String, Vec<f64>)>,
}

/// Cost of one query.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// Wall-clock seconds.
    pub seconds: f64,
    /// WebAssembly fuel that the plugin's own code used; `None` for native code.
    pub fuel: Option<u64>,
    /// The most bytes that the plugin and the host objects made for it held at once, inputs not counted.
    pub peak_memory: u64,
}

/// Chooses rows of the pool.
pub trait Strategy {
    /// Which implementation this is.
    fn identity(&self) -> &StrategyIdentity;

    /// The arrays it wants, under the parameters it was made with.
    fn needs(&self) -> &[Need];

    /// The powers beyond arrays that its package declares.
    fn capabilities(&self) -> &[Capability];

    /// The strategy's part in training; `None` for one that only answers queries.
    fn hooks(&mut self) -> Option<&mut dyn TrainingHooks> {
        None
    }

    /// Called where at least one row is wanted, see [`Strategy::answer`]. Whether the whole contract of
    /// [`crate::Acquisition::check`] holds is for the caller to check.
    ///
    /// # Errors
    /// If the strategy gives no answer.
    fn query(&mut self, query: &Query<'_>) -> Result<Answer, QueryError>;

    /// What it may see of these arrays.
    ///
    /// # Errors
    /// As for [`Settled::new`](crate::Settled::new), in the strategy's name.
    fn granted(&self, arrays: &Arrays) -> Result<Granted, QueryError> {
        Granted::new(arrays, self.needs(), self.capabilities()).map_err(|error| error.of(self.identity()))
    }

    /// Answers a question, of which it sees what it has a right to. Where no row is wanted, there is nothing to query
    /// and it keeps the state that it has. Whether the answer keeps the contract is for [`Question::check`] to say.
    ///
    /// # Errors
    /// If it wants something secret without a right to it, or gives no answer.
    fn answer(&mut self, question: &Question<'_>) -> Result<Answer, QueryError> {
        let granted = self.granted(question.arrays())?;
        let query = question.seen(&granted);
        if query.wanted() == 0 {
            let selection = Selection { state: query.state.map(<[u8]>::to_vec), ..Selection::default() };
            return Ok(Answer { selection, ..Answer::default() });
        }
        self.query(&query)
    }
}

/// Rows of a tile: as many as keep its inputs within `bytes`.
pub fn tile_rows(needs: &[Need], arrays: &Arrays, bytes: usize) -> usize {
    let row_bytes: usize = needs
        .iter()
        .flat_map(Need::names)
        .filter(|name| names::per_sample(name).is_some())
        .filter_map(|name| arrays.get(name))
        .map(|array| array.row_len() * 4)
        .sum();
    // Rows without inputs still have an id and a score.
    (bytes / row_bytes.max(16)).max(1)
}
