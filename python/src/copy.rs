//! Values of other types as the host has them.

use half::{bf16, f16};

use crate::view::{Element, View};

/// All values as 32-bit floats; or the first that is finite and none of these any more.
///
/// Call it for floats only.
pub fn floats(view: &View) -> Result<Vec<f32>, f64> {
    let mut beyond = None;
    // SAFETY: each arm reads what the view says that it holds.
    let values = unsafe {
        match view.element() {
            Element::F16 => view.each(f16::to_f32),
            Element::Bf16 => view.each(bf16::to_f32),
            Element::F64 => view.each(|value: f64| {
                let short = value as f32;
                if short.is_infinite() && value.is_finite() && beyond.is_none() {
                    beyond = Some(value);
                }
                short
            }),
            _ => view.each(|value: f32| value),
        }
    };
    match beyond {
        None => Ok(values),
        Some(value) => Err(value),
    }
}

/// All values as whole numbers, with the sign of those that are below zero. `None` of floats.
pub fn integers(view: &View) -> Option<Vec<i128>> {
    // SAFETY: each arm reads what the view says that it holds; truths are read as the bytes that they are.
    Some(unsafe {
        match view.element() {
            Element::I8 => view.each(|value: i8| i128::from(value)),
            Element::I16 => view.each(|value: i16| i128::from(value)),
            Element::I32 => view.each(|value: i32| i128::from(value)),
            Element::I64 => view.each(|value: i64| i128::from(value)),
            Element::U8 => view.each(|value: u8| i128::from(value)),
            Element::U16 => view.each(|value: u16| i128::from(value)),
            Element::U32 => view.each(|value: u32| i128::from(value)),
            Element::U64 => view.each(|value: u64| i128::from(value)),
            _ => return None,
        }
    })
}
