//! What is known of a plugin, as questions and answers.

use serde::Serialize;

use super::facts::RuleLine;
use super::{Contrast, Facts, Finding, Judged, Needed, Outcome, SuiteFacts};

/// How an answer is to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mark {
    /// As one wishes.
    Good,
    /// As one does not wish.
    Bad,
    /// Not known.
    Open,
    /// Neither.
    Plain,
}

/// A question and its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Said {
    /// What it is about, for programs.
    pub topic: &'static str,
    /// The question.
    pub question: String,
    /// How the answer is to be taken.
    pub mark: Mark,
    /// The answer.
    pub answer: String,
}

/// A difference in points, with its sign.
pub(super) fn points(difference: f64) -> String {
    format!("{:+.1}", difference * 100.0)
}

fn plural(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// Names one after the other, at most `most` of them.
fn listed(names: &[&str], most: usize) -> String {
    let more = names.len().saturating_sub(most);
    let named = names.iter().take(most).copied().collect::<Vec<_>>().join("; ");
    if more == 0 { named } else { format!("{named}; and {more} more") }
}

fn by_finding(finding: Finding) -> &'static str {
    match finding {
        Finding::Better => "better than",
        Finding::Worse => "worse than",
        Finding::Alike => "as good as",
        Finding::Same => "the same as",
        Finding::NotKnown => "not shown to differ from",
    }
}

/// The verdict as a sentence.
pub(super) fn headline(judged: &Judged) -> String {
    let facts = &judged.facts;
    match judged.verdict {
        Outcome::Fails => {
            let (failed, planned) = (facts.failed.len(), facts.planned);
            return format!("Fails: {failed} of {} did not finish.", plural(planned, "run"));
        }
        Outcome::BreaksRules => {
            let broken: Vec<String> = broken(facts).map(|rule| format!("`{}`", rule.rule)).collect();
            return format!(
                "Breaks {}: {}. Its figures are worth little before that is mended.",
                plural(broken.len(), "rule"),
                broken.join(", ")
            );
        }
        _ => {}
    }
    let Some(random) = &judged.random else { return "Nothing is known: no run has ended.".to_owned() };
    let mut text = format!("{} `{}`", by_finding(random.finding), random.against);
    if let Some(nearest) = judged.nearest.first() {
        let like = if judged.nearest.len() == 1 { ", the built-in most like it" } else { "" };
        text += &match (random.finding, nearest.finding) {
            (Finding::NotKnown, Finding::NotKnown) => format!(", nor from `{}`{like}", nearest.against),
            (_, finding) => format!("; {} `{}`{like}", by_finding(finding), nearest.against),
        };
    }
    let first = text.remove(0).to_uppercase();
    format!("{first}{text}.")
}

fn broken(facts: &Facts) -> impl Iterator<Item = &RuleLine> {
    facts.rules.iter().filter(|rule| rule.is_broken())
}

/// A difference that is worth knowing of.
pub(super) fn worthy(worth: f64) -> String {
    if worth == 1.0 { "1 point".to_owned() } else { format!("{worth} points") }
}

/// What is known of a difference, what is not, and how many seeds would tell.
pub(super) fn contrast(contrast: &Contrast, worth: f64) -> String {
    let Contrast { against, difference, interval, settings, .. } = contrast;
    let mean = difference.mean * 100.0;
    let over = if *settings == 1 { String::new() } else { format!("on average over {settings} settings ") };
    let seeds = plural(difference.n, "seed");
    let range = interval.map(|(low, high)| format!("{} to {}", points(low), points(high))).unwrap_or_default();
    let size = |mean: f64| format!("{:.1} points", mean.abs());
    let p = contrast.p_corrected.map(crate::sheet::p_value).unwrap_or_default();
    match contrast.finding {
        Finding::Better => format!(
            "Yes: {over}its mean accuracy over the budget is {} above that of `{against}` (95 % interval {range}, \
             {seeds}, p {p}).",
            size(mean)
        ),
        Finding::Worse => format!(
            "No, it is worse: {over}its mean accuracy over the budget is {} below that of `{against}` (95 % interval \
             {range}, {seeds}, p {p}).",
            size(mean)
        ),
        Finding::Alike => format!(
            "No, they are as good as each other: {over}any difference is below {} (95 % interval {range}, \
             {seeds}).",
            worthy(worth)
        ),
        Finding::Same => format!("They are the same: every accuracy is that of `{against}` ({seeds})."),
        Finding::NotKnown if difference.n == 1 => format!(
            "Not known: one seed was run, in which it is {} {} `{against}`. One seed cannot be told from chance; \
             `--seeds 5` runs more.",
            size(mean),
            above(mean)
        ),
        Finding::NotKnown if contrast.constant => format!(
            "Not known: it is {} {} `{against}` with each of {seeds}, whose runs do not vary, so that nothing is said \
             about others.",
            size(mean),
            above(mean)
        ),
        Finding::NotKnown => format!(
            "Not known: {over}it was {} {} `{against}`, and the true difference may be anything from {range} \
             ({seeds}). {}",
            size(mean),
            above(mean),
            more_seeds(contrast, worth)
        ),
    }
}

fn above(mean: f64) -> &'static str {
    if mean < 0.0 { "below" } else { "above" }
}

/// How many seeds would tell.
fn more_seeds(contrast: &Contrast, worth: f64) -> String {
    let run = contrast.difference.n;
    let more = |needed: usize| match needed.saturating_sub(run) {
        0 => "as many as were run".to_owned(),
        more => format!("{needed} seeds, {more} more than were run"),
    };
    let of_worth = match contrast.seeds_for_worth {
        Some(needed) => {
            format!("To see a difference of {} with a chance of 80 % takes {}", worthy(worth), more(needed))
        }
        None => format!("More than a million seeds would be needed to see a difference of {}", worthy(worth)),
    };
    match contrast.seeds_for_seen {
        Some(needed) if contrast.difference.mean.abs() * 100.0 > worth => {
            format!("{of_worth}; one as large as was seen, {}.", more(needed))
        }
        _ => format!("{of_worth}."),
    }
}

/// All answers about one plugin.
pub(super) struct Says<'a> {
    pub judged: &'a Judged,
    pub suite: &'a SuiteFacts,
}

impl Says<'_> {
    pub fn all(&self) -> Vec<Said> {
        let all = [
            self.failed(),
            self.random(),
            self.places(),
            self.labels(),
            self.attained(),
            self.cost(),
            self.repeats(),
            self.order(),
            self.rules(),
            self.reach(),
            self.limits(),
            self.origin(),
        ];
        let mut all: Vec<Said> = all.into_iter().flatten().collect();
        // The nearest stand behind random.
        let at = all.iter().position(|said| said.topic == "baseline").map_or(0, |at| at + 1);
        all.splice(at..at, self.nearest());
        all
    }

    fn facts(&self) -> &Facts {
        &self.judged.facts
    }

    fn failed(&self) -> Option<Said> {
        let failed = &self.facts().failed;
        let first = failed.first()?;
        let answer =
            format!("{} of {} did not finish. {}: {}", failed.len(), self.facts().planned, first.run, first.reason);
        Some(said("runs", "Does it run?", Mark::Bad, answer))
    }

    fn random(&self) -> Option<Said> {
        let random = self.judged.random.as_ref()?;
        let question = format!("Does it beat `{}`?", random.against);
        Some(said("baseline", &question, mark(random), contrast(random, self.suite.worth)))
    }

    fn nearest(&self) -> Vec<Said> {
        let of = |nearest: &Contrast| {
            let like = self.facts().nearest.iter().find(|like| like.label == nearest.against);
            let why = match like {
                Some(like) if like.picks.is_some_and(|picks| picks > 0.999) => {
                    " Of made-up pools both pick the very same rows.".to_owned()
                }
                Some(like) => match like.picks {
                    Some(picks) => format!(
                        " Of the suite's yardsticks it is the most like it: of made-up pools both pick alike {:.0} % \
                         more than chance has it.",
                        picks * 100.0
                    ),
                    None => " No yardstick picks like it; this one asks for the most similar arrays.".to_owned(),
                },
                None => String::new(),
            };
            let question = format!("Does it beat `{}`, which is most like it?", nearest.against);
            said("nearest", &question, mark(nearest), format!("{}{why}", contrast(nearest, self.suite.worth)))
        };
        self.judged.nearest.iter().map(of).collect()
    }

    /// In which settings something was shown.
    fn places(&self) -> Option<Said> {
        let settings = &self.judged.settings;
        let with = |finding: Finding| -> Vec<&str> {
            let found =
                settings.iter().filter(|one| one.random.as_ref().is_some_and(|random| random.finding == finding));
            found.map(|one| one.name.as_str()).collect()
        };
        if settings.len() < 2 || settings.iter().all(|setting| setting.random.is_none()) {
            return None;
        }
        let (better, worse) = (with(Finding::Better), with(Finding::Worse));
        if better.is_empty() && worse.is_empty() {
            let answer = format!(
                "None of {} settings shows a difference from `random` by itself, corrected for all of them.",
                settings.len()
            );
            return Some(said("settings", "Where?", Mark::Open, answer));
        }
        let told = |what: &str, names: &[&str]| match names.len() {
            0 => format!("{what} in none"),
            count => format!("{what} in {count}: {}", listed(names, 4)),
        };
        let rest = settings.len() - better.len() - worse.len();
        let rest = if rest > 0 { format!(" In {rest} nothing is shown by itself.") } else { String::new() };
        let answer = format!(
            "Of {} settings, each by itself and corrected for all of them, it is {}; {}.{rest}",
            settings.len(),
            told("better", &better),
            told("worse", &worse)
        );
        let mark = match (better.is_empty(), worse.is_empty()) {
            (false, true) => Mark::Good,
            (true, false) => Mark::Bad,
            _ => Mark::Plain,
        };
        Some(said("settings", "Where?", mark, answer))
    }

    fn labels(&self) -> Option<Said> {
        let Needed { mean, least, most, settings } = self.judged.labels_needed?;
        let range =
            if settings > 1 { format!(", from {least:.2} to {most:.2} in {settings} settings") } else { String::new() };
        let change = (1.0 - mean) * 100.0;
        let saved = match change {
            change if change >= 0.5 => format!("{change:.0} % fewer"),
            change if change <= -0.5 => format!("{:.0} % more", -change),
            _ => "as many".to_owned(),
        };
        let answer = format!(
            "It needs {mean:.2} times the labels of `random` ({saved}{range}): a speed-up of {:.2}.",
            1.0 / mean
        );
        Some(said("labels", "How many labels does it save?", Mark::Plain, answer))
    }

    fn attained(&self) -> Option<Said> {
        let shares: Vec<f64> =
            self.judged.settings.iter().filter_map(|setting| Some(setting.attained.as_ref()?.share)).collect();
        if shares.is_empty() {
            return None;
        }
        let mean = shares.iter().sum::<f64>() / shares.len() as f64;
        let answer = format!(
            "{:.0} % of what the upper baseline gains over `random`, which knows the labels and looks one round ahead \
             (mean of {}).",
            mean * 100.0,
            plural(shares.len(), "setting")
        );
        Some(said("attained", "How much of what could be had?", Mark::Plain, answer))
    }

    fn cost(&self) -> Option<Said> {
        let (own, others) = self.judged.costs.split_first()?;
        let beside: Vec<String> =
            others.iter().map(|other| format!("`{}` {}", other.label, seconds(other.seconds))).collect();
        let beside = if beside.is_empty() { String::new() } else { format!(" ({})", beside.join(", ")) };
        let memory = own.most_bytes.map(|most| format!(", {} at most", bytes(most))).unwrap_or_default();
        let answer = format!(
            "{} a query{beside}{memory}, for up to {} samples. Its arrays take {} to compute.",
            seconds(own.seconds),
            own.pool,
            seconds(own.feature_seconds)
        );
        Some(said("cost", "What does a query cost?", Mark::Plain, answer))
    }

    fn repeats(&self) -> Option<Said> {
        let rules = ["repeats", "processes", "threads-and-tiles", "trial"];
        let looked: Vec<&RuleLine> =
            self.facts().rules.iter().filter(|rule| rules.contains(&rule.rule.as_str())).collect();
        let question = "Is it deterministic?";
        if let Some(broken) = looked.iter().find(|rule| rule.is_broken()) {
            return Some(said("repeats", question, Mark::Bad, format!("No: {}", broken.message)));
        }
        if !looked.iter().any(|rule| rule.holds()) {
            let answer = "Not looked at: the suite leaves the rules out.".to_owned();
            return Some(said("repeats", question, Mark::Open, answer));
        }
        let lots = match self.facts().draws {
            Some(true) => " It draws lots, which go by the seed.",
            Some(false) => " It draws no lots: another seed changes nothing.",
            None => "",
        };
        let answer = format!(
            "Yes: the same question has the same answer, bit for bit, in another process and on other threads.{lots}"
        );
        Some(said("repeats", question, Mark::Good, answer))
    }

    fn order(&self) -> Option<Said> {
        let (moved, of) = self.facts().moved?;
        let question = "Does it depend on the order of rows?";
        Some(match (moved, self.facts().draws) {
            (0, _) => {
                let answer = format!("No: in the opposite order the same samples are picked, all {of} of them.");
                said("order", question, Mark::Good, answer)
            }
            (_, Some(true)) => {
                let answer = format!(
                    "As much as its lots: in the opposite order {moved} of {of} picks are others, as with another seed."
                );
                said("order", question, Mark::Plain, answer)
            }
            _ => {
                let answer = format!(
                    "Yes, and it draws no lots: in the opposite order {moved} of {of} picks are others. Who numbers \
                     the samples decides what is bought."
                );
                said("order", question, Mark::Bad, answer)
            }
        })
    }

    fn rules(&self) -> Option<Said> {
        let facts = self.facts();
        if facts.rules.is_empty() {
            return None;
        }
        let applied = facts.rules.iter().filter(|rule| rule.is_broken() || rule.holds()).count();
        let broken: Vec<String> = broken(facts).map(|rule| format!("`{}`: {}", rule.rule, rule.message)).collect();
        Some(match broken.first() {
            None => said("rules", "Does it keep the rules?", Mark::Good, format!("All {applied} that apply to it.")),
            Some(first) => {
                let answer = format!("It breaks {} of {applied}. {first}", broken.len());
                said("rules", "Does it keep the rules?", Mark::Bad, answer)
            }
        })
    }

    fn reach(&self) -> Option<Said> {
        let facts = self.facts();
        let names = |names: &[String]| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let asked = match facts.needs.as_slice() {
            [] => "It asks for no arrays".to_owned(),
            needs => format!("It asks for {}", names(needs)),
        };
        let (rights, mark) = match facts.rights.as_slice() {
            [] => ("and for no hidden label".to_owned(), Mark::Good),
            rights => (format!("and for hidden labels ({}), as no strategy in use may", names(rights)), Mark::Bad),
        };
        let mark = if facts.kind == "native-torch" && mark == Mark::Good { Mark::Plain } else { mark };
        let answer = format!("{} {asked}, {rights}.", facts.ran);
        Some(said("reach", "What can it reach?", mark, answer))
    }

    fn limits(&self) -> Option<Said> {
        let own = self.judged.costs.first().filter(|cost| cost.label == self.facts().label)?;
        let limits = self.facts().limits;
        let share = |part: f64| if part < 0.01 { "under 1 %".to_owned() } else { format!("{:.0} %", part * 100.0) };
        let time = own.most_seconds / limits.seconds;
        let memory = own.most_bytes.map(|most| most as f64 / limits.memory as f64);
        let of_memory = memory.map(|part| format!("{} of its memory ({}), ", share(part), bytes(limits.memory)));
        let answer = format!(
            "The greediest query took {}{} of its time ({}).",
            of_memory.unwrap_or_default(),
            share(time),
            seconds(limits.seconds)
        );
        let mark = if time.max(memory.unwrap_or(0.0)) > 0.8 { Mark::Bad } else { Mark::Good };
        Some(said("limits", "How close to its limits?", mark, answer))
    }

    fn origin(&self) -> Option<Said> {
        let facts = self.facts();
        let from = if facts.built_in { "Installed with this program." } else { "" };
        let answer =
            format!("Package `{}` {}, {}: {}. {from}", facts.package, facts.version, facts.kind, facts.signature);
        let mark = if facts.built_in || facts.signature.starts_with("verified") { Mark::Good } else { Mark::Plain };
        Some(said("origin", "Where does it come from?", mark, answer.trim_end().to_owned()))
    }
}

fn said(topic: &'static str, question: &str, mark: Mark, answer: String) -> Said {
    Said { topic, question: question.to_owned(), mark, answer }
}

fn mark(contrast: &Contrast) -> Mark {
    match contrast.finding {
        Finding::Better => Mark::Good,
        Finding::Worse => Mark::Bad,
        Finding::Alike | Finding::Same => Mark::Plain,
        Finding::NotKnown => Mark::Open,
    }
}

/// Seconds, with as many digits as matter.
pub(super) fn seconds(seconds: f64) -> String {
    match seconds {
        s if s < 0.001 => "under 1 ms".to_owned(),
        s if s < 1.0 => format!("{:.0} ms", s * 1000.0),
        s if s < 10.0 => format!("{s:.1} s"),
        s if s < 5400.0 => format!("{s:.0} s"),
        s => format!("{:.1} h", s / 3600.0),
    }
}

/// Bytes in words.
pub(super) fn bytes(bytes: u64) -> String {
    match bytes as f64 {
        b if b < 1024.0 * 1024.0 => format!("{:.0} KiB", b / 1024.0),
        b if b < 1024.0 * 1024.0 * 1024.0 => format!("{:.0} MiB", b / 1024.0 / 1024.0),
        b => format!("{:.1} GiB", b / 1024.0 / 1024.0 / 1024.0),
    }
}
