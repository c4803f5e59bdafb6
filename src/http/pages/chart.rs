//! Charts of the last hour, as inline SVG: no script, nothing to load, and readable without colours.

use maud::{Markup, html};

const WIDTH: usize = 300;
const HEIGHT: u64 = 72;

/// A bar for each minute: its whole, and the part of it that is drawn darker.
pub(super) struct Chart<'a> {
    /// What is counted.
    pub(super) title: &'a str,
    /// The same in a sentence, for who doesn't see the bars.
    pub(super) said: String,
    /// Wholes and parts, the oldest first.
    pub(super) bars: Vec<(u64, u64)>,
    /// The largest, in words.
    pub(super) largest: String,
}

impl Chart<'_> {
    /// The largest whole among `bars`.
    pub(super) fn most(bars: &[(u64, u64)]) -> u64 {
        bars.iter().map(|(whole, _)| *whole).max().unwrap_or(0)
    }

    pub(super) fn draw(&self) -> Markup {
        let most = Self::most(&self.bars).max(1);
        let step = WIDTH as f64 / self.bars.len().max(1) as f64;
        // A minute in which there was anything is seen.
        let height = |value: u64| match value {
            0 => 0.0,
            value => (value as f64 / most as f64 * HEIGHT as f64).max(1.5),
        };
        let bar = |class: &str, place: usize, value: u64| {
            let high = height(value);
            let (x, y) = (place as f64 * step, HEIGHT as f64 - high);
            html! {
                rect class=(class) x=(format!("{x:.1}")) y=(format!("{y:.1}")) width=(format!("{:.1}", step * 0.8)) height=(format!("{high:.1}")) {}
            }
        };
        let drawn = self.bars.iter().enumerate();
        html! {
            figure {
                figcaption { span { (self.title) } span { "up to " (self.largest) } }
                svg class="chart" role="img" aria-label=(self.said) viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) preserveAspectRatio="none" {
                    @for (place, (whole, part)) in drawn {
                        @if *whole > 0 { (bar("all", place, *whole)) }
                        @if *part > 0 { (bar("part", place, *part)) }
                    }
                }
                figcaption { span { "an hour ago" } span { "now" } }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_fit_whatever_they_count() {
        for bars in [
            vec![],
            vec![(0, 0); 60],
            vec![(u64::MAX, u64::MAX), (1, 1), (0, 0)],
        ] {
            let chart = Chart {
                title: "t",
                said: "s".to_owned(),
                largest: String::new(),
                bars,
            };
            let drawn = chart.draw().into_string();
            assert!(!drawn.contains("NaN") && !drawn.contains("inf"), "{drawn}");
            assert!(!drawn.contains("height=\"-"), "{drawn}");
        }
    }
}
