//! What a page says of itself that is served while runs go on.

use maud::{Markup, html};

/// State of a page that changes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Live {
    /// Names this state of the page: another state has another one.
    pub digest: String,
    /// When it was made, as HTTP writes times.
    pub made: String,
    /// How many runs are in which state, such as `running`.
    pub states: Vec<(String, usize)>,
    /// The same by strategy, with reasons, as lines of text.
    pub details: String,
    /// What could not be read, and is left out.
    pub left_out: Vec<String>,
}

/// How far the runs are.
pub(super) fn progress(live: &Live) -> Markup {
    let all: usize = live.states.iter().map(|(_, count)| count).sum();
    let done = live.states.iter().find(|(state, _)| state == "done").map_or(0, |(_, count)| *count);
    let said: Vec<String> = live.states.iter().map(|(state, count)| format!("{count} {state}")).collect();
    html! {
        section #progress aria-label="how far the runs are" {
            p {
                @if all > 0 { progress value=(done) max=(all) aria-label="runs that are done" { } " " }
                @if said.is_empty() { "no run yet" } @else { (said.join(", ")) }
                span.soft { " · made " time #made { (live.made) } }
            }
            @if !live.details.is_empty() {
                details data-key="states" { summary { "By strategy" } pre { (live.details) } }
            }
            @if !live.left_out.is_empty() {
                ul.warnings aria-label="left out" { @for text in &live.left_out { li { "left out: " (text) } } }
            }
        }
    }
}
