//! Scorers: the rows of the pool are cut into tiles, which threads score beside each other, and then ranked.

use std::mem::MaybeUninit;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use querist_core::{Failure, QueryErrorKind};
use querist_protocol::{HostCalls, Selection};

use super::{Session, Shared};

/// Some rows of the pool, and room for their scores.
pub struct Tile<'a> {
    rows: Range<usize>,
    primary: &'a mut [MaybeUninit<f64>],
    second: &'a mut [MaybeUninit<f64>],
    /// Once it is scored: whether it has tie-breakers.
    scored: Option<bool>,
}

impl Tile<'_> {
    /// The rows of the pool.
    pub fn rows(&self) -> Range<usize> {
        self.rows.clone()
    }

    /// Writes down a score for every row, and a tie-breaker for every row or none.
    ///
    /// # Errors
    /// If there is not one finite number a row.
    pub fn fill(&mut self, scores: &[f64], second: Option<&[f64]>) -> Result<(), Failure> {
        copy(scores, self.primary)?;
        if let Some(second) = second {
            copy(second, self.second)?;
        }
        self.scored = Some(second.is_some());
        Ok(())
    }
}

fn copy(scores: &[f64], room: &mut [MaybeUninit<f64>]) -> Result<(), Failure> {
    let broken = |message: String| Err(Failure::new(QueryErrorKind::Contract, message));
    if scores.len() != room.len() {
        return broken(format!("gave {} scores for a tile of {} rows", scores.len(), room.len()));
    }
    if let Some(row) = scores.iter().position(|score| !score.is_finite()) {
        return broken(format!("row {row} of a tile scored {}; scores must be finite", scores[row]));
    }
    room.write_copy_of_slice(scores);
    Ok(())
}

/// What scoring the whole pool gave.
#[derive(Debug)]
pub struct Tiled {
    /// The rows that rank first, with their scores.
    pub selection: Selection,
    /// Bytes that the scores took.
    pub memory: u64,
}

/// Scores the pool in tiles of `tile` rows on `workers` threads, then ranks. `score` fills a tile.
///
/// # Errors
/// What `score` says, and if a tile was not filled, some tiles have tie-breakers and some have none, or a limit is
/// passed.
pub fn score_tiles(
    shared: &Arc<Shared>,
    tile: usize,
    workers: usize,
    score: impl Fn(&mut Tile<'_>) -> Result<(), Failure> + Sync,
) -> Result<Tiled, Failure> {
    let rows = shared.rows as usize;
    let tiles = rows.div_ceil(tile);
    // Tiles are handed out with their places in the result, so that a million scores are written once.
    let (mut primary, mut second) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
    let mut room = [&mut primary, &mut second].map(|scores: &mut Vec<f64>| scores.spare_capacity_mut());
    let [first_room, second_room] = room.each_mut().map(|room| room[..rows].chunks_mut(tile));
    let places = Mutex::new(first_room.zip(second_room).enumerate());
    let work = || {
        let progress = Session::new(shared.clone());
        let mut with_second = 0;
        loop {
            let next = places.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some((number, (primary, second))) = next else {
                return Ok(with_second);
            };
            let rows = number * tile..number * tile + primary.len();
            let mut part = Tile { rows, primary, second, scored: None };
            score(&mut part)?;
            let no_scores = || Failure::new(QueryErrorKind::Contract, "a tile was given no scores");
            with_second += usize::from(part.scored.ok_or_else(no_scores)?);
            progress.progress(number as u64 + 1, tiles as u64)?;
        }
    };
    let parts: Vec<Result<usize, Failure>> = std::thread::scope(|scope| {
        let spawned: Vec<_> = (1..workers.clamp(1, tiles.max(1))).map(|_| scope.spawn(work)).collect();
        let own = work();
        spawned
            .into_iter()
            .map(|worker| worker.join().unwrap_or_else(|_| Err(Failure::of_host())))
            .chain([own])
            .collect()
    });
    let with_second = parts.into_iter().sum::<Result<usize, Failure>>()?;
    if with_second != 0 && with_second != tiles {
        return Err(Failure::new(QueryErrorKind::Contract, "some tiles have tie-breakers and some have none"));
    }
    // SAFETY: every tile was scored, and so its place filled; the tie-breakers' if every tile has some.
    unsafe {
        primary.set_len(rows);
        second.set_len(if with_second > 0 { rows } else { 0 });
    }
    let second = (with_second > 0).then_some(&second[..]);
    let picked = Session::new(shared.clone()).rank(&primary, second, shared.setup.batch.min(rows))?;
    if let Some(tally) = shared.setup.arrays.tally() {
        tally.scored(&picked, &primary, second);
    }
    let scores = picked.iter().map(|&row| primary[row as usize]).collect();
    let selection = Selection { rows: picked, scores, ..Selection::default() };
    Ok(Tiled { selection, memory: (2 * rows * size_of::<f64>()) as u64 })
}
