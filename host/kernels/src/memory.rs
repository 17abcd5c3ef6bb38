//! Memory that is on the query's account for as long as it lives.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use querist_protocol::{Fault, FaultCode};

use crate::control::Control;

/// Bytes on the account; dropping it gives them back.
#[derive(Debug)]
pub(crate) struct Charge {
    control: Arc<Control>,
    bytes: u64,
}

impl Charge {
    /// Charges room for `count` values of type `T`.
    pub(crate) fn of<T>(control: &Arc<Control>, count: usize) -> Result<Self, Fault> {
        let bytes = (count as u64).saturating_mul(size_of::<T>() as u64);
        control.charge_bytes(bytes)?;
        Ok(Self { control: Arc::clone(control), bytes })
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.control.give_back_bytes(self.bytes);
    }
}

/// A list of fixed length on the account.
#[derive(Debug)]
pub(crate) struct Charged<T> {
    values: Vec<T>,
    _charge: Charge,
}

impl<T: Clone> Charged<T> {
    /// `count` copies of `value`.
    pub(crate) fn filled(control: &Arc<Control>, count: usize, value: T) -> Result<Self, Fault> {
        let charge = Charge::of::<T>(control, count)?;
        let mut values = Vec::new();
        values.try_reserve_exact(count).map_err(|_| out_of_memory::<T>(count))?;
        values.resize(count, value);
        Ok(Self { values, _charge: charge })
    }

    /// A copy of `values`.
    pub(crate) fn copied(control: &Arc<Control>, source: &[T]) -> Result<Self, Fault> {
        let charge = Charge::of::<T>(control, source.len())?;
        let mut values = Vec::new();
        values.try_reserve_exact(source.len()).map_err(|_| out_of_memory::<T>(source.len()))?;
        values.extend_from_slice(source);
        Ok(Self { values, _charge: charge })
    }
}

impl<T> Deref for Charged<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.values
    }
}

impl<T> DerefMut for Charged<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.values
    }
}

/// A list that grows on the account.
#[derive(Debug)]
pub(crate) struct Growing<T> {
    values: Vec<T>,
    charge: Charge,
}

impl<T> Growing<T> {
    pub(crate) fn new(control: &Arc<Control>) -> Result<Self, Fault> {
        Ok(Self { values: Vec::new(), charge: Charge::of::<T>(control, 0)? })
    }

    pub(crate) fn push(&mut self, value: T) -> Result<(), Fault> {
        if self.values.len() == self.values.capacity() {
            self.reserve(self.values.len().max(16))?;
        }
        self.values.push(value);
        Ok(())
    }

    /// Makes room for `more` values.
    pub(crate) fn reserve(&mut self, more: usize) -> Result<(), Fault> {
        let wanted = self.values.len().saturating_add(more);
        let extra = wanted.saturating_sub(self.values.capacity());
        let mut charge = Charge::of::<T>(&self.charge.control, extra)?;
        self.values.try_reserve_exact(more).map_err(|_| out_of_memory::<T>(wanted))?;
        self.charge.bytes += std::mem::take(&mut charge.bytes);
        Ok(())
    }
}

impl<T> Deref for Growing<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.values
    }
}

fn out_of_memory<T>(count: usize) -> Fault {
    let bytes = (count as u64).saturating_mul(size_of::<T>() as u64);
    Fault::new(FaultCode::Quota, format!("the machine has no {bytes} bytes of memory left for this object"))
}
