//! Five numbers for many.

use std::time::Duration;

use serde::Serialize;

/// How a set of durations is spread, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Summary {
    pub(crate) runs: usize,
    pub(crate) min: f64,
    pub(crate) p25: f64,
    pub(crate) median: f64,
    pub(crate) p75: f64,
    pub(crate) max: f64,
}

impl Summary {
    /// Nothing can be said of no duration: `None`.
    pub(crate) fn of(durations: &[Duration]) -> Option<Self> {
        let mut millis: Vec<f64> = durations.iter().map(|one| one.as_secs_f64() * 1e3).collect();
        millis.sort_by(f64::total_cmp);
        let (first, last) = (millis.first()?, millis.last()?);
        Some(Self {
            runs: millis.len(),
            min: *first,
            p25: quantile(&millis, 1),
            median: quantile(&millis, 2),
            p75: quantile(&millis, 3),
            max: *last,
        })
    }
}

/// The given quarter of sorted numbers, between neighbours where it falls between.
fn quantile(sorted: &[f64], quarter: usize) -> f64 {
    let place = (sorted.len() - 1) * quarter;
    let (below, rest) = (place / 4, place % 4);
    let low = sorted[below];
    let high = sorted.get(below + 1).copied().unwrap_or(low);
    low + (high - low) * [0.0, 0.25, 0.5, 0.75][rest]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_fall_between_neighbours() {
        let millis = [4, 1, 3, 2].map(Duration::from_millis);
        let expected = Summary { runs: 4, min: 1.0, p25: 1.75, median: 2.5, p75: 3.25, max: 4.0 };
        assert_eq!(Summary::of(&millis), Some(expected));
        assert_eq!(Summary::of(&[]), None);
    }
}
