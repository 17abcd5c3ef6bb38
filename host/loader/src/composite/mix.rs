//! One query with several wishes: the picks with the largest weighted sum of what each wish makes of a row, one by one,
//! under hard constraints.
//!
//! With S the picks so far, the next one has the largest `sum_k weight_k t_k(i | S)` of all rows that the constraints
//! allow, the lowest row among equals. Terms:
//!
//! - `score`: the score of another strategy, by rank;
//! - `toward`, `away`: minus the distance to the nearest row that the user points at, or the distance;
//! - `typical`: minus the mean distance to the nearest other rows;
//! - `diversity`: the distance d_i(S) to the nearest labelled or picked row over R, the largest one at the start.
//!   Without labels R is the largest distance from the mean, and the first pick is drawn to the mean;
//! - `classes`: how much the predicted class lacks, over the largest lack or surplus at the start.
//!
//! Constraints: nothing nearer than `min_distance` to what is labelled or picked, and `at_most` so many picks with one
//! value of a column. Where they leave too few rows the answer is short.
//!
//! Once there is a pick or a label, no term rises any more, to the last bit: so a sum of before bounds the sum of now,
//! and a row is looked at again only when it stands at the top. Picks are those of computing every sum at every step.

use querist_core::{Answer, Beside, Query, QueryError, Usage};
use querist_protocol::{Need, Selection, names};

use super::members::Members;
use super::mix_greedy::Greedy;
use super::mix_terms::{Terms, looks_at_labelled, scores};
use super::own::Own;
use crate::package::combine::{Kind, Member, Mix, Term};

/// The members of the terms, in order.
pub(super) fn members(mix: &Mix) -> Vec<Member> {
    mix.terms.iter().filter_map(|term| term.member.clone()).collect()
}

/// What the terms and constraints themselves look at.
pub(super) fn needs(mix: &Mix) -> Vec<Need> {
    let mut needs = Vec::new();
    if mix.min_distance > 0.0 || mix.terms.iter().any(|term| term.kind.is_of_distance()) {
        needs.push(Need::new(names::EMBEDDINGS));
    }
    if looks_at_labelled(mix) {
        needs.push(Need::new("labelled.embeddings"));
    }
    if mix.terms.iter().any(|term| term.kind == Kind::Classes) {
        needs.extend([names::LOGITS, names::LABELLED_LABELS].map(Need::new));
    }
    needs.extend(mix.terms.iter().filter_map(|term| Some(Need::new(term.rows.as_deref()?))));
    if let Some(at_most) = &mix.at_most {
        needs.push(Need::new(&at_most.group));
        needs.push(Need::new(format!("{}{}", names::LABELLED, at_most.group)));
    }
    needs
}

/// What the schema cannot say.
pub(super) fn check(mix: &Mix) -> Result<(), String> {
    if mix.terms.iter().all(|term| term.weight == 0.0) {
        return Err("`terms` have no weight above 0".to_owned());
    }
    for (at, term) in mix.terms.iter().enumerate() {
        check_term(term).map_err(|what| format!("`terms[{at}]` of kind `{}` {what}", term.kind.name()))?;
    }
    if mix.terms.iter().filter(|term| term.kind == Kind::Classes).count() > 1 {
        return Err("`terms` have two of kind `classes`; shares can only be those of one".to_owned());
    }
    let group = mix.at_most.as_ref().map(|at_most| &at_most.group);
    match group.filter(|group| !group.starts_with("extra.") || group.parse::<Need>().is_err()) {
        Some(group) => Err(format!("`at_most.group` is `{group}`; expected extra.NAME")),
        None => Ok(()),
    }
}

fn check_term(term: &Term) -> Result<(), String> {
    let is_pointed = matches!(term.kind, Kind::Toward | Kind::Away);
    let is_static = is_pointed || matches!(term.kind, Kind::Score | Kind::Typical);
    let wants = [
        ("member", term.member.is_some(), term.kind == Kind::Score, term.kind == Kind::Score),
        ("rows", term.rows.is_some(), is_pointed, is_pointed),
        ("target", term.target.is_some(), term.kind == Kind::Classes, false),
        ("k", term.k.is_some(), term.kind == Kind::Typical, false),
        ("normalise", term.normalise.is_some(), is_static, false),
    ];
    for (name, is_given, is_known, is_wanted) in wants {
        match (is_given, is_known) {
            (true, false) => return Err(format!("has no `{name}`")),
            (false, true) if is_wanted => return Err(format!("needs `{name}`")),
            _ => {}
        }
    }
    match &term.rows {
        Some(rows) if !rows.starts_with("query.") || rows.parse::<Need>().is_err() => {
            Err(format!("has rows `{rows}`; expected query.NAME"))
        }
        _ => Ok(()),
    }
}

/// Picks one by one.
pub(super) fn query(mix: &Mix, members: &mut Members, query: &Query<'_>) -> Result<Answer, QueryError> {
    let (scores, usage) = scores(mix, members, query)?;
    let own = Own::open(members, query).map_err(|failure| members.failed(failure))?;
    let work = || Greedy::new(mix, &own, query, Terms::of(mix, &own, query, scores)?)?.pick(query);
    let picked = own.watched(query, work).map_err(|failure| members.failed(failure))?;
    let mut diagnostics = vec![("short".to_owned(), f64::from(u8::from(picked.is_short)))];
    if picked.is_short {
        diagnostics.push(("blocked_by_distance".to_owned(), f64::from(picked.blocked_by_distance)));
        diagnostics.push(("blocked_by_group".to_owned(), f64::from(picked.blocked_by_group)));
    }
    let terms: Vec<(String, Vec<f64>)> = names_of(mix).into_iter().zip(picked.parts).collect();
    for (name, parts) in terms.iter().filter(|(_, parts)| !parts.is_empty()) {
        diagnostics.push((format!("mean.{name}"), parts.iter().sum::<f64>() / parts.len() as f64));
    }
    let selection = Selection { rows: picked.rows, scores: picked.scores, diagnostics, state: None };
    let usage = Usage { peak_memory: usage.peak_memory.max(own.peak_memory()), ..usage };
    Ok(Answer { selection, usage, beside: Beside { is_short: picked.is_short, terms } })
}

/// A name for each term: its kind or its member, and its number where there are several.
fn names_of(mix: &Mix) -> Vec<String> {
    let plain = |term: &Term| match &term.member {
        Some(member) => member.id.clone(),
        None => term.kind.name().to_owned(),
    };
    let all: Vec<String> = mix.terms.iter().map(plain).collect();
    let number = |at: usize| all[..=at].iter().filter(|name| **name == all[at]).count();
    let named = |(at, name): (usize, &String)| match number(at) {
        1 => name.clone(),
        number => format!("{name}-{number}"),
    };
    all.iter().enumerate().map(named).collect()
}
