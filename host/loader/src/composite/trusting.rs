//! What composites that learn whom to trust share: slots that members fill, and what is kept from round to round.

use std::collections::BTreeMap;

use querist_core::{Answer, Query, QueryError, Usage};
use sha2::{Digest, Sha256};

use super::members::{Members, add};

/// The picks of members, each asked once at most.
pub(super) struct Lists {
    lists: BTreeMap<usize, std::vec::IntoIter<u32>>,
    taken: Vec<bool>,
    pub(super) usage: Option<Usage>,
}

impl Lists {
    pub(super) fn new(query: &Query<'_>) -> Self {
        Self { lists: BTreeMap::new(), taken: vec![false; query.arrays.ids().len()], usage: None }
    }

    /// Asks a member for a batch, if it was not asked yet.
    fn ask(&mut self, member: usize, members: &mut Members, query: &Query<'_>) -> Result<(), QueryError> {
        if self.lists.contains_key(&member) {
            return Ok(());
        }
        let Answer { selection, usage, .. } = members.picked(member, query, None, query.wanted())?;
        add(&mut self.usage, usage);
        self.lists.insert(member, selection.rows.into_iter());
        Ok(())
    }

    /// The first row of a member's list that is not taken yet. A list of a whole batch never runs dry before the batch
    /// is full.
    pub(super) fn proposal(
        &mut self,
        member: usize,
        members: &mut Members,
        query: &Query<'_>,
    ) -> Result<Option<u32>, QueryError> {
        self.ask(member, members, query)?;
        let Some(list) = self.lists.get_mut(&member) else { return Ok(None) };
        while let Some(&row) = list.as_slice().first() {
            if !self.taken[row as usize] {
                return Ok(Some(row));
            }
            list.next();
        }
        Ok(None)
    }

    pub(super) fn take(&mut self, row: u32) {
        self.taken[row as usize] = true;
    }

    /// Rows that are not taken, ascending.
    pub(super) fn open(&self) -> impl Iterator<Item = u32> {
        (0..self.taken.len() as u32).filter(|&row| !self.taken[row as usize])
    }
}

/// What tells a member with its parameters and its code from every other.
pub(super) fn digests(members: &Members) -> Vec<u64> {
    let mut all = Vec::with_capacity(members.strategies.len());
    for (strategy, params) in members.strategies.iter().zip(&members.params) {
        let identity = strategy.identity();
        let mut hash = Sha256::new();
        for part in [&identity.id, &identity.digest, params] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        let digest = hash.finalize();
        all.push(u64::from_le_bytes(std::array::from_fn(|i| digest[i])));
    }
    all
}

/// Reads numbers from a state, little-endian.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl Reader<'_> {
    pub(super) fn u64(&mut self) -> Option<u64> {
        let (first, rest) = self.0.split_first_chunk::<8>()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*first))
    }

    /// A finite number.
    pub(super) fn f64(&mut self) -> Option<f64> {
        self.u64().map(f64::from_bits).filter(|value| value.is_finite())
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        let (first, rest) = self.0.split_first_chunk::<4>()?;
        self.0 = rest;
        Some(u32::from_le_bytes(*first))
    }
}
