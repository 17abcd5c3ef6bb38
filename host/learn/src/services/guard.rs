//! What is put back, and looked at, after the plugin's code ran.

use std::cell::RefCell;

use querist_core::ServiceError;
use querist_protocol::philox::Stream;
use querist_torchx::ambient::{Ambient, GradMode, Marks};
use querist_torchx::optimiser::clear_gradients;
use querist_torchx::random;

use super::{Services, refuse};

/// The plugin's own generators of libtorch.
pub(super) struct Own<'a> {
    /// Where they stand; `None` until they are first used.
    pub(super) random: &'a RefCell<Option<Ambient>>,
    /// What they are seeded from.
    pub(super) seed: Stream,
    /// The GPU whose generator is among them.
    pub(super) cuda: Option<usize>,
}

impl Own<'_> {
    /// Runs code of the plugin with them, recording gradients, and puts everything back as it was.
    pub(super) fn run(mut self, call: &mut dyn FnMut()) -> Result<(), ServiceError> {
        let before = Ambient::save(self.cuda).or_else(refuse)?;
        let put_back = PutBack(&before);
        self.enter()?;
        let grad = GradMode::set(true);
        call();
        drop(grad);
        *self.random.borrow_mut() = Some(Ambient::save(self.cuda).or_else(refuse)?);
        std::mem::forget(put_back);
        before.restore().or_else(refuse)
    }

    /// Puts them in place of the host's.
    fn enter(&mut self) -> Result<(), ServiceError> {
        match &*self.random.borrow() {
            Some(own) => own.restore_random(),
            None => random::seed(self.seed.next_bits()),
        }
        .or_else(refuse)
    }
}

impl Services<'_> {
    /// Runs code of the plugin, as [`querist_core::HostServices::guarded`] says.
    pub(super) fn run_guarded(&self, call: &mut dyn FnMut()) -> Result<(), ServiceError> {
        let marks = self.marks()?;
        let own = Own { random: &self.random, seed: self.numbers("torch", self.part), cuda: self.cuda() };
        own.run(call)?;
        if let Some(model) = self.model {
            // What a backward pass of the plugin left there would be added to the task's next step.
            clear_gradients(model.parameters().weights()).or_else(refuse)?;
        }
        let changed = marks.changed(&self.marks()?);
        if changed.is_empty() {
            return Ok(());
        }
        refuse(format!(
            "it changed the task's model in place ({}); only the host trains it: return an extra loss instead, or work \
             on copies",
            self.names(&changed)
        ))
    }

    fn marks(&self) -> Result<Marks, ServiceError> {
        Marks::of(&self.watched).or_else(refuse)
    }

    /// The model's tensors at these positions, for people.
    fn names(&self, positions: &[usize]) -> String {
        let all: Vec<&str> = self.model.map_or(Vec::new(), |model| model.parameters().named().map(|n| n.0).collect());
        let named: Vec<String> = positions.iter().take(3).map(|&at| format!("`{}`", all[at])).collect();
        match positions.len().saturating_sub(3) {
            0 => named.join(", "),
            more => format!("{} and {more} more", named.join(", ")),
        }
    }
}

/// Puts things back also where plugin code unwound.
struct PutBack<'a>(&'a Ambient);

impl Drop for PutBack<'_> {
    fn drop(&mut self) {
        // Only while unwinding: there is nobody left to tell.
        let _ = self.0.restore();
    }
}
