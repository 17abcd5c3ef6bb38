//! Checks that every call shares.

use std::ops::Range;

use querist_protocol::{Fault, FaultCode};

/// `rows * columns`, if it can be addressed.
pub(crate) fn product(rows: usize, columns: usize) -> Result<usize, Fault> {
    rows.checked_mul(columns).filter(|&n| n <= isize::MAX as usize / 8).ok_or_else(|| {
        Fault::new(FaultCode::Quota, format!("an object of {rows} x {columns} values is larger than any memory"))
    })
}

/// The range `start .. start + count` inside `len` items called `what`.
pub(crate) fn range(start: u32, count: u32, len: usize, what: &str) -> Result<Range<usize>, Fault> {
    let (first, end) = (start as usize, start as usize + count as usize);
    if end > len {
        let message = format!("asked for {count} {what} from {start} on, but there are {len}");
        return Err(Fault::new(FaultCode::BadIndex, message));
    }
    Ok(first..end)
}

/// Every one of `rows` lies below `len`.
pub(crate) fn rows(rows: &[u32], len: usize) -> Result<(), Fault> {
    match rows.iter().position(|&row| row as usize >= len) {
        None => Ok(()),
        Some(at) => Err(Fault::new(
            FaultCode::BadIndex,
            format!("row {} at position {at} of the list, but there are {len} rows", rows[at]),
        )),
    }
}

/// Two lengths agree.
pub(crate) fn same(found: usize, expected: usize, what: &str) -> Result<(), Fault> {
    if found == expected {
        return Ok(());
    }
    Err(Fault::new(FaultCode::BadShape, format!("{what}: found {found}, expected {expected}")))
}

/// Fails with `BadArgument` unless `holds`.
pub(crate) fn argument(holds: bool, message: impl FnOnce() -> String) -> Result<(), Fault> {
    if holds { Ok(()) } else { Err(Fault::new(FaultCode::BadArgument, message())) }
}

/// Every weight is finite and none is negative.
pub(crate) fn weights(values: &[f64]) -> Result<(), Fault> {
    match values.iter().position(|value| !value.is_finite() || *value < 0.0) {
        None => Ok(()),
        Some(row) => Err(Fault::new(
            if values[row] < 0.0 { FaultCode::BadArgument } else { FaultCode::NonFinite },
            format!("weight {} in row {row}; weights must be finite and at least 0", values[row]),
        )),
    }
}
