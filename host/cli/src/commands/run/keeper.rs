//! Makes rounds durable and says what they brought.

use std::sync::Arc;

use anyhow::{Context, Result};
use querist_core::config::{OracleTable, RunConfig};
use querist_core::observer::{AskedRound, FinishedRound};
use querist_core::{Dataset, Observer, Reveals, Round, RoundRecord, SampleId};
use querist_people::{Guess, Picture, Stage};
use serde_json::json;

use crate::events;
use crate::people::{self, Waiting};
use crate::progress::Display;
use crate::run_folder::RunFolder;
use crate::track::tensorboard::Board;

type Failed = Box<dyn std::error::Error + Send + Sync>;

/// Makes rounds durable and says what they brought.
pub struct Keeper<'a> {
    pub folder: RunFolder,
    pub config: &'a RunConfig,
    pub dataset: &'a Dataset,
    pub display: &'a Display,
    pub rounds: usize,
    /// Whether the strategy may ask for labels inside its batch.
    pub asks_one_by_one: bool,
    /// TensorBoard's file, where one is asked for.
    pub board: Option<Board>,
    /// Who labels, where that is people.
    pub people: Option<OracleTable>,
    /// Whether a batch waits for its labels.
    pub waits: bool,
}

impl Keeper<'_> {
    /// A line for people, of what events have told already.
    fn say(&self, line: &str) {
        if !events::are_json() {
            self.display.line(line);
        }
    }
}

impl Observer for Keeper<'_> {
    fn progress(&self) -> &dyn querist_core::progress::Progress {
        self.display
    }

    fn reveals(&self, round: Round) -> Result<Option<Arc<dyn Reveals>>, Failed> {
        if !self.asks_one_by_one {
            return Ok(None);
        }
        Ok(Some(Arc::new(self.folder.reveal_log(round).map_err(|error| format!("{error:#}"))?)))
    }

    fn round_done(&mut self, round: &FinishedRound<'_>) -> Result<(), Failed> {
        self.folder.commit(round, self.dataset).map_err(|error| format!("{error:#}"))?;
        let r = round.record;
        if let Some(Err(error)) = self.board.as_mut().map(|board| board.add(r.round)) {
            // The round is safe, and what it shows is written anew on resume.
            self.display.line(&format!("warning: {error:#}"));
        }
        self.tell("round", r);
        if r.out_of_patience {
            self.display
                .line("the accuracy on the validation set has not got better for as long as budget.patience says");
        }
        Ok(())
    }

    fn round_asked(&mut self, asked: &AskedRound<'_>) -> Result<(), Failed> {
        self.ask(asked).map_err(|error| format!("{error:#}"))?;
        self.tell("asked", asked.round.record);
        self.waits = true;
        Ok(())
    }
}

impl Keeper<'_> {
    /// Writes a batch down, with everything that the round has come to.
    fn ask(&self, asked: &AskedRound<'_>) -> Result<()> {
        let people = self.people.context("nobody labels this batch")?;
        let round = asked.round.record.round;
        let picks = asked.round.picks.map(|(picks, _)| picks).context("nothing is asked for")?;
        let guess = |rank: usize| {
            let guess = asked.guesses.get(rank)?;
            // Rounding may take it a bit above 1.
            Some(Guess { class: guess.class.0, probability: guess.probability.min(1.0) })
        };
        let picture = |(rank, &id): (usize, &SampleId)| Picture {
            id: id.0,
            name: self.dataset.file(id).unwrap_or_default().to_owned(),
            score: picks.scores().get(rank).copied(),
            guess: guess(rank),
        };
        let pictures = picks.ids().iter().enumerate().map(picture).collect();
        let batch = people::batch(self.config, people, Stage::Round(round.0), self.dataset.class_names(), pictures)?;
        let write = |folder: &std::path::Path| self.folder.write_round(folder, &asked.round, self.dataset);
        Waiting::of(self.folder.path()).write(&batch, write)
    }

    /// Tells of a round, whose figures of nothing are no numbers.
    fn tell(&self, event: &str, r: &RoundRecord) {
        let accuracy = r.metrics.accuracy;
        events::tell(
            event,
            json!({
                "round": r.round, "of": self.rounds, "labelled": r.labelled, "accuracy": accuracy,
                "fit_seconds": r.seconds.fit, "query_seconds": r.seconds.query,
            }),
        );
        let accuracy = if accuracy.is_nan() { "    -".to_owned() } else { format!("{:>5.1}", accuracy * 100.0) };
        self.say(&format!(
            "round {:>3} of {}  {:>6} labelled  accuracy {accuracy} %  fit {:.1} s  query {:.2} s",
            r.round, self.rounds, r.labelled, r.seconds.fit, r.seconds.query
        ));
    }
}
