//! [`Sample`]: what was measured once in every round.

use serde::Serialize;

/// One figure of every round, in the order of the rounds.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Sample(pub(crate) Vec<f64>);

impl Sample {
    /// The middle one, or the mean of the two in the middle; zero of nothing.
    pub(crate) fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        match (sorted.len(), sorted.len() / 2) {
            (0, _) => 0.0,
            (odd, middle) if odd % 2 == 1 => sorted[middle],
            (_, middle) => f64::midpoint(sorted[middle - 1], sorted[middle]),
        }
    }

    /// The smallest.
    pub(crate) fn least(&self) -> f64 {
        self.0.iter().copied().fold(f64::INFINITY, f64::min)
    }

    /// The largest.
    pub(crate) fn most(&self) -> f64 {
        self.0.iter().copied().fold(f64::NEG_INFINITY, f64::max)
    }

    /// Half the distance between the extremes, in percent of the median.
    pub(crate) fn spread(&self) -> f64 {
        match self.median() {
            median if median > 0.0 => (self.most() - self.least()) / 2.0 / median * 100.0,
            _ => 0.0,
        }
    }

    /// Round by round this over `other`: both are from the same moments, so what disturbs one disturbs both.
    pub(crate) fn over(&self, other: &Sample) -> Sample {
        let pairs = self.0.iter().zip(&other.0);
        Sample(
            pairs
                .map(|(a, b)| a / b)
                .filter(|r| r.is_finite())
                .collect(),
        )
    }

    /// Whether there is anything in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<f64> for Sample {
    fn from_iter<I: IntoIterator<Item = f64>>(figures: I) -> Self {
        Self(figures.into_iter().collect())
    }
}

/// A number of things, with a comma every three digits.
pub(crate) fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Microseconds in a unit that suits them.
pub(crate) fn time(us: f64) -> String {
    match us {
        us if us < 100.0 => format!("{us:.1} µs"),
        us if us < 1e3 => format!("{us:.0} µs"),
        us if us < 100e3 => format!("{:.1} ms", us / 1e3),
        us if us < 1e6 => format!("{:.0} ms", us / 1e3),
        us => format!("{:.2} s", us / 1e6),
    }
}

/// Bytes as megabytes.
pub(crate) fn megabytes(bytes: f64) -> String {
    format!("{:.1} MB", bytes / 1e6)
}
