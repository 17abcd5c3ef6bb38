//! Values scaled to the unit interval.

/// The range of some values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Range {
    /// The smallest of them; infinite where there are none.
    pub low: f64,
    /// The largest.
    pub high: f64,
}

impl Range {
    /// Of these values.
    pub fn of<'a>(values: impl IntoIterator<Item = &'a f64>) -> Self {
        let none = Self { low: f64::INFINITY, high: f64::NEG_INFINITY };
        let joined = |range: Self, &value: &f64| Self { low: range.low.min(value), high: range.high.max(value) };
        values.into_iter().fold(none, joined)
    }

    /// Where in the range a value of it lies, from 0 to 1; `alone` where all values are the same.
    pub fn place(&self, value: f64, alone: f64) -> f64 {
        if self.high > self.low { (value - self.low) / (self.high - self.low) } else { alone }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_their_places_in_the_unit_interval() {
        let range = Range::of(&[2.0, -2.0, 0.0]);
        assert_eq!([2.0, -2.0, 0.0, -1.0].map(|value| range.place(value, 7.0)), [1.0, 0.0, 0.5, 0.25]);
        assert_eq!(Range::of(&[3.0, 3.0]).place(3.0, 1.0), 1.0);
        assert_eq!(Range::of(&[]).place(3.0, 0.5), 0.5);
    }
}
