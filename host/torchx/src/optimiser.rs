//! Optimiser steps over all parameters in one call.
//!
//! libtorch's fused kernels read and write each parameter once; on a GPU the whole step is a handful of launches. The
//! state is the caller's tensors, so it can be looked at and saved.

use tch::Tensor;

use crate::TorchError;
use crate::ffi::{self, addresses};

/// Settings of one step of stochastic gradient descent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sgd {
    /// Learning rate.
    pub lr: f64,
    /// Share of the running direction that is kept; 0 for none.
    pub momentum: f64,
    /// L2 penalty.
    pub weight_decay: f64,
    /// Whether to look ahead along the running direction.
    pub nesterov: bool,
}

/// Updates parameters from their gradients as `torch.optim.SGD` does.
///
/// With gradient g of parameter p: `d = g + weight_decay p`; `v = momentum v + d`, where the `first` step sets `v = d`;
/// `p -= lr (d + momentum v)` with Nesterov's look-ahead, else `p -= lr v`. Without momentum `momenta` is empty.
///
/// # Errors
/// If a gradient is missing, or tensors do not fit each other.
pub fn sgd_step(parameters: &[Tensor], momenta: &[Tensor], first: bool, settings: &Sgd) -> Result<(), TorchError> {
    let expected = if settings.momentum == 0.0 { 0 } else { parameters.len() };
    same_length(&[("momenta", momenta.len())], expected)?;
    let (parameters, momenta) = (addresses(parameters), addresses(momenta));
    let Sgd { lr, momentum, weight_decay, nesterov } = *settings;
    // SAFETY: both lists hold addresses of live tensors, as many as said; libtorch checks their shapes.
    unsafe {
        ffi::checked(ffi::querist_sgd_step(
            parameters.as_ptr(),
            momenta.as_ptr(),
            parameters.len(),
            lr,
            momentum,
            weight_decay,
            nesterov,
            first,
        ))
    }
}

/// Settings of one step of Adam.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Adam {
    /// Learning rate.
    pub lr: f64,
    /// Decay of the running mean of gradients.
    pub beta1: f64,
    /// Decay of the running mean of squared gradients.
    pub beta2: f64,
    /// Added to the root of the second mean.
    pub eps: f64,
    /// L2 penalty.
    pub weight_decay: f64,
    /// Whether the penalty shrinks the parameters and is no part of the gradient (AdamW).
    pub decoupled: bool,
}

/// Running means of Adam, one tensor a parameter.
#[derive(Debug, Clone, Copy)]
pub struct AdamState<'a> {
    /// Running means of gradients, of the parameters' shapes.
    pub means: &'a [Tensor],
    /// Running means of squared gradients, of the parameters' shapes.
    pub squares: &'a [Tensor],
    /// Steps taken, float scalars on the parameters' device.
    pub steps: &'a [Tensor],
}

/// Updates parameters from their gradients, and the state, as `torch.optim.Adam` or `torch.optim.AdamW` does (both
/// means bias-corrected).
///
/// # Errors
/// If a gradient is missing, or tensors do not fit each other.
pub fn adam_step(parameters: &[Tensor], state: &AdamState<'_>, settings: &Adam) -> Result<(), TorchError> {
    let lengths = [("means", state.means.len()), ("squares", state.squares.len()), ("steps", state.steps.len())];
    same_length(&lengths, parameters.len())?;
    let parameters = addresses(parameters);
    let (means, squares, steps) = (addresses(state.means), addresses(state.squares), addresses(state.steps));
    let Adam { lr, beta1, beta2, eps, weight_decay, decoupled } = *settings;
    // SAFETY: the lists hold addresses of live tensors, as many as said; libtorch checks their shapes.
    unsafe {
        ffi::checked(ffi::querist_adam_step(
            parameters.as_ptr(),
            means.as_ptr(),
            squares.as_ptr(),
            steps.as_ptr(),
            parameters.len(),
            lr,
            beta1,
            beta2,
            eps,
            weight_decay,
            decoupled,
        ))
    }
}

/// Brings every element of the gradients within `bound` of 0.
///
/// # Errors
/// If a gradient is missing.
pub fn clamp_gradients(parameters: &[Tensor], bound: f64) -> Result<(), TorchError> {
    let parameters = addresses(parameters);
    // SAFETY: the list holds addresses of live tensors, as many as said.
    unsafe { ffi::checked(ffi::querist_clamp_gradients(parameters.as_ptr(), parameters.len(), bound)) }
}

/// Shortens the gradients where their length over all parameters is more than `bound`. The device is not asked.
///
/// # Errors
/// If a gradient is missing.
pub fn clip_gradients(parameters: &[Tensor], bound: f64) -> Result<(), TorchError> {
    let parameters = addresses(parameters);
    // SAFETY: the list holds addresses of live tensors, as many as said.
    unsafe { ffi::checked(ffi::querist_clip_gradients(parameters.as_ptr(), parameters.len(), bound)) }
}

/// Moves each tensor towards another of its shape by the share `weight` of the way.
///
/// # Errors
/// If the lists or shapes do not fit each other.
pub fn lerp(tensors: &[Tensor], towards: &[Tensor], weight: f64) -> Result<(), TorchError> {
    same_length(&[("targets", towards.len())], tensors.len())?;
    let (tensors, towards) = (addresses(tensors), addresses(towards));
    // SAFETY: both lists hold addresses of live tensors, as many as said; libtorch checks their shapes.
    unsafe { ffi::checked(ffi::querist_lerp(tensors.as_ptr(), towards.as_ptr(), tensors.len(), weight)) }
}

/// Forgets gradients, so that the next backward pass writes new ones instead of adding to these.
///
/// # Errors
/// If libtorch refuses.
pub fn clear_gradients(parameters: &[Tensor]) -> Result<(), TorchError> {
    let parameters = addresses(parameters);
    // SAFETY: the list holds addresses of live tensors, as many as said.
    unsafe { ffi::checked(ffi::querist_clear_gradients(parameters.as_ptr(), parameters.len())) }
}

fn same_length(lists: &[(&str, usize)], expected: usize) -> Result<(), TorchError> {
    match lists.iter().find(|(_, length)| *length != expected) {
        Some((name, length)) => Err(TorchError(format!("{length} {name} for {expected} parameters"))),
        None => Ok(()),
    }
}
