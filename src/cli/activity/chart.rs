//! Bars over time, as SVG that stretches with the page. All of its words stand beside it, in HTML.

use super::answer::{LimitRow, OverTime};
use super::figures::DecisionCounts;
use super::markup::{Markup, all, element, text};
use super::page::{grouped, minutes};

/// The kinds of decisions that a bar shows, from its foot up: a class, a name, and the words on record.
pub(super) const KINDS: [(&str, &str, &[&str]); 6] = [
    ("let", "let through", &["allow", "pass", "other"]),
    ("would", "let through in shadow, would have been stopped", &["would_deny", "would_ask"]),
    ("asked", "asked about", &["ask"]),
    ("denied", "denied", &["deny"]),
    ("refused", "refused at the front door", &["refuse"]),
    ("withheld", "response withheld", &["withheld"]),
];

/// Heights and widths within a drawing, which is then stretched.
const HEIGHT: f64 = 200.0;

/// A share of a column that stays free beside its bar.
const GAP: f64 = 0.14;

/// Where the stretches of a chart begin and end.
#[derive(Clone, Copy)]
pub(super) struct Axis {
    first: u64,
    columns: u64,
    seconds: u64,
}

impl Axis {
    pub(super) fn of(over_time: &OverTime) -> Option<Axis> {
        let first = over_time.stretches.first()?.second;
        let last = over_time.stretches.last()?.second;
        let seconds = over_time.seconds.max(1);
        Some(Axis { first, columns: (last - first) / seconds + 1, seconds })
    }

    /// How far a stretch is to the right, in columns.
    fn column(&self, second: u64) -> f64 {
        (second.saturating_sub(self.first) / self.seconds) as f64
    }

    fn view(&self, height: f64) -> String {
        // A few bars should not be as wide as the page.
        format!("0 0 {} {height}", self.columns.max(12))
    }
}

/// All decisions, stacked.
pub(super) fn decisions(over_time: &OverTime) -> Option<Markup> {
    let axis = Axis::of(over_time)?;
    let most = over_time.stretches.iter().map(|stretch| stretch.decisions.sum()).max()?.max(1);
    let mut bars = Vec::new();
    for stretch in &over_time.stretches {
        let told = format!("{} UTC: {}", minutes(&stretch.from), in_words(&stretch.decisions));
        let mut parts = vec![element("title", &[], [text(&told)])];
        let mut foot = HEIGHT;
        for (class, _, words) in KINDS {
            let count = stretch.decisions.of_all(words);
            if count > 0 {
                // What is there is seen, however much else there is.
                let height = (count as f64 / most as f64 * HEIGHT).max(1.5);
                foot -= height;
                parts.push(bar(class, axis.column(stretch.second), foot, height));
            }
        }
        bars.push(element("g", &[], parts));
    }
    let told = format!(
        "Decisions over time, {} in the busiest stretch. The tables below have the numbers.",
        grouped(most)
    );
    let drawing = drawing("chart", &axis.view(HEIGHT), &told, bars);
    let last = over_time.stretches.last().map(|last| minutes(&last.from)).unwrap_or_default();
    let first = over_time.stretches.first().map(|first| minutes(&first.from)).unwrap_or_default();
    let most = format!("{} in the busiest {}", grouped(most), length(over_time.seconds));
    Some(all([
        element("p", &[("class", "axis")], [element("span", &[], [text(&most)])]),
        drawing,
        element(
            "p",
            &[("class", "axis")],
            [
                element("span", &[], [text(&format!("{first} UTC"))]),
                element("span", &[], [text(&format!("{last} UTC"))]),
            ],
        ),
    ]))
}

/// How full a limit was.
pub(super) fn fullness(limit: &LimitRow, axis: Axis) -> Markup {
    let bars = limit.over_time.iter().map(|fullness| {
        let class = match fullness.most_percent {
            0..70 => "calm",
            70..90 => "busy",
            _ => "full",
        };
        let height = (fullness.most_percent.min(100) as f64 * 0.3).max(1.0);
        let told = format!("{} UTC: {} %", minutes(&fullness.from), fullness.most_percent);
        let title = element("title", &[], [text(&told)]);
        element("g", &[], [title, bar(class, axis.column(fullness.second), 30.0 - height, height)])
    });
    let told = format!("How full it was over time: {} % at most", limit.most_percent);
    drawing("spark", &axis.view(30.0), &told, bars.collect())
}

fn drawing(class: &str, view: &str, told: &str, bars: Vec<Markup>) -> Markup {
    let attributes = [
        ("class", class),
        ("viewBox", view),
        ("preserveAspectRatio", "none"),
        ("role", "img"),
        ("aria-label", told),
    ];
    element("svg", &attributes, bars)
}

fn bar(class: &str, x: f64, y: f64, height: f64) -> Markup {
    let number = |number: f64| format!("{number:.2}");
    let (x, width) = (number(x + GAP / 2.0), number(1.0 - GAP));
    let (y, height) = (number(y), number(height));
    let place = [("class", class), ("x", &x), ("y", &y), ("width", &width), ("height", &height)];
    element("rect", &place, [])
}

fn in_words(decisions: &DecisionCounts) -> String {
    let kinds = KINDS.iter().map(|(_, name, words)| (name, decisions.of_all(words)));
    let told = kinds.filter(|(_, count)| *count > 0);
    told.map(|(name, count)| format!("{} {name}", grouped(count))).collect::<Vec<_>>().join(", ")
}

/// A length of time in words.
fn length(seconds: u64) -> String {
    let (count, unit) = match seconds {
        0..3600 => (seconds / 60, "minute"),
        3600..86_400 => (seconds / 3600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    if count == 1 { unit.to_owned() } else { format!("{count} {unit}s") }
}
