//! The rules, each with the smallest case that breaks it.

use querist_core::QueryErrorKind;
use querist_core::{Round, Schema, Strategy};
use querist_protocol::layers::{CHOOSES, MEANS};
use querist_protocol::{Need, Selection, TILE_BYTES};
use serde_json::{Value, json};

use crate::cases::{Pool, Shape};
use crate::exam::{
    Broken, Exam, Verdict, arrays, broken, digest, least_params, made, made_with, question, required, same_bits, seeded,
};
use crate::shrink::{Case, smallest};
use crate::{Make, Rule};

type Checked = Result<Verdict, Broken>;

/// Every rule that takes no clock.
pub fn rules() -> &'static [Rule] {
    &[
        Rule {
            name: "description",
            says: "it says what it is, by whom, and what it needs under its defaults",
            check: description,
        },
        Rule { name: "schema", says: "its schema is strict, documented and right about the defaults", check: schema },
        Rule { name: "examples", says: "every example of its schema is answered", check: examples },
        Rule { name: "answers", says: "it picks exactly min(batch, pool) distinct rows of the pool", check: answers },
        Rule { name: "degenerate-pools", says: "it answers pools in which nothing stands out", check: degenerate },
        Rule { name: "repeats", says: "the same question has the same answer, bit for bit", check: repeats },
        Rule { name: "processes", says: "another process gives the same answers", check: processes },
        Rule {
            name: "threads-and-tiles",
            says: "neither threads nor the size of tiles change an answer",
            check: threads_and_tiles,
        },
        Rule { name: "rows-alone", says: "a scorer's score of a row does not depend on other rows", check: rows_alone },
        Rule { name: "order", says: "a scorer's picks come with falling scores, longest first", check: order },
        Rule { name: "state", says: "what it keeps leads to the same answers, and rubbish does no harm", check: state },
        Rule { name: "needs", says: "it uses the arrays that it asks for", check: needs },
        Rule { name: "choices", says: "it answers with either of two arrays of which it asks for one", check: choices },
    ]
}

fn description(make: &dyn Make) -> Checked {
    let description = make.description();
    let sound = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let id = &description.id;
    if id.is_empty() || !id.chars().all(sound) {
        return broken!("its id is `{id}`, expected lower-case letters, digits and hyphens");
    }
    for (what, text) in [("summary", &description.summary), ("paper", &description.paper)] {
        if text.trim().is_empty() {
            return broken!("its {what} is empty");
        }
    }
    for need in &description.needs {
        need.parse::<Need>().map_err(|error| Broken(format!("need `{need}`: {error}")))?;
    }
    let strategy = made(make, &least_params(make)?)?;
    let needs: Vec<String> = strategy.needs().iter().map(Need::to_string).collect();
    if needs != description.needs {
        return broken!("it needs {needs:?} under its defaults, but its package says {:?}", description.needs);
    }
    Ok(Verdict::Holds)
}

fn schema(make: &dyn Make) -> Checked {
    let description = make.description();
    let schema = Schema::new(description.schema.clone()).map_err(|error| Broken(error.to_string()))?;
    let least = least_params(make)?;
    let defaults = schema.with_defaults(&least);
    let problems = schema.problems(&defaults);
    if !problems.is_empty() {
        return broken!("the defaults break the schema: {problems:?}");
    }
    let unknown = json!({"no-such-parameter": 1});
    if schema.problems(&unknown).is_empty() {
        return broken!("the schema allows unknown parameters: say `additionalProperties: false`");
    }
    let properties = description.schema.get("properties").and_then(Value::as_object).cloned().unwrap_or_default();
    let required = required(&description.schema);
    // What only chooses among defaults, or is an old name, has none of its own.
    let own = |property: &Value| property.get(CHOOSES).is_none() && property.get(MEANS).is_none();
    for (name, property) in properties.iter().filter(|(_, property)| own(property)) {
        if property.get("description").and_then(Value::as_str).is_none_or(str::is_empty) {
            return broken!("parameter `{name}` has no description");
        }
        if property.get("default").is_none() && !required.contains(&name.as_str()) {
            return broken!("parameter `{name}` has no default and is not required");
        }
    }
    for layer in schema.layers() {
        // Conditions that a user can state, such as a preset's name, with all else left out.
        let chosen = schema.with_defaults(&Value::Object(layer.when.clone()));
        let problems = schema.problems(&chosen);
        if !problems.is_empty() {
            return broken!("its defaults where {:?} break the schema: {problems:?}", layer.when);
        }
        if required.is_empty() {
            made(make, &chosen)?;
        }
    }
    let (mut bare, mut filled) = (made(make, &least)?, made(make, &defaults)?);
    let arrays = arrays(Pool::default(), &*bare)?;
    let question = question(&arrays, 7);
    let (a, b) = (question.picks(&mut *bare, "no parameters")?, question.picks(&mut *filled, "defaults")?);
    if !same_bits(&a, &b) {
        return broken!("the schema's defaults ({defaults}) are not the strategy's own: the answers differ");
    }
    Ok(Verdict::Holds)
}

fn examples(make: &dyn Make) -> Checked {
    let description = make.description();
    let schema = Schema::new(description.schema.clone()).map_err(|error| Broken(error.to_string()))?;
    let examples = description.schema.get("examples").and_then(Value::as_array).cloned().unwrap_or_default();
    if examples.is_empty() {
        return Ok(Verdict::NotApplicable("the schema has no examples"));
    }
    for example in &examples {
        let problems = schema.problems(example);
        if !problems.is_empty() {
            return broken!("example {example} breaks the schema: {problems:?}");
        }
        let mut strategy = made(make, example)?;
        let arrays = arrays(Pool::default(), &*strategy)?;
        question(&arrays, 7).ask(&mut *strategy, &format!("example {example}"))?;
    }
    Ok(Verdict::Holds)
}

fn answers(make: &dyn Make) -> Checked {
    let mut strategy = made(make, &least_params(make)?)?;
    for labelled in [0, 20] {
        let pool = Pool { labelled, ..Pool::default() };
        let arrays = arrays(pool, &*strategy)?;
        for batch in [0, 1, 2, 17, 299, 300, 301, 100_000] {
            let case = format!("batch {batch} of 300, {labelled} labelled");
            let answer = question(&arrays, batch).ask(&mut *strategy, &case);
            answer.map_err(|broken| unanswered(make, Case { pool, batch }, 1, broken))?;
        }
    }
    for rows in [0, 1, 2, 3] {
        let pool = Pool { rows, ..Pool::default() };
        let arrays = arrays(pool, &*strategy)?;
        for batch in [0, 1, 2, 5] {
            let answer = question(&arrays, batch).ask(&mut *strategy, &format!("batch {batch} of {rows}"));
            answer.map_err(|broken| unanswered(make, Case { pool, batch }, 1, broken))?;
        }
    }
    Ok(Verdict::Holds)
}

/// The smallest case without an answer that keeps the contract; `seed` is that of its random numbers.
fn unanswered(make: &dyn Make, first: Case, seed: u64, broken: Broken) -> Broken {
    smallest(first, broken, |Case { pool, batch }| {
        let asked = || {
            let mut strategy = made(make, &least_params(make)?)?;
            let arrays = arrays(pool, &*strategy)?;
            seeded(&arrays, batch, seed).ask(&mut *strategy, "made smaller")
        };
        asked().err()
    })
}

fn degenerate(make: &dyn Make) -> Checked {
    for values in [Shape::Constant, Shape::Duplicates, Shape::Extreme, Shape::Tiny, Shape::Random] {
        for (classes, labelled, seen) in [(2, 0, 2), (2, 5, 2), (7, 0, 7), (7, 30, 7), (7, 30, 1)] {
            let mut strategy = made(make, &least_params(make)?)?;
            let pool = Pool { values, classes, labelled, seen, rows: 60, ..Pool::default() };
            let arrays = arrays(pool, &*strategy)?;
            for batch in [1, 10, 60] {
                let case =
                    format!("{values:?}, {seen} of {classes} classes seen, {labelled} labelled, batch {batch} of 60");
                let answer = seeded(&arrays, batch, 2).ask(&mut *strategy, &case);
                answer.map_err(|broken| unanswered(make, Case { pool, batch }, 2, broken))?;
            }
        }
    }
    Ok(Verdict::Holds)
}

fn repeats(make: &dyn Make) -> Checked {
    let params = least_params(make)?;
    let (mut first, mut second) = (made(make, &params)?, made(make, &params)?);
    let arrays = arrays(Pool::default(), &*first)?;
    for round in [0, 3] {
        let question = seeded(&arrays, 25, 9).in_round(Round(round));
        let a = question.picks(&mut *first, "first time")?;
        for (who, answer) in [
            ("the same instance", question.picks(&mut *first, "second time")?),
            ("another instance", question.picks(&mut *second, "another instance")?),
        ] {
            if !same_bits(&a, &answer) {
                return broken!("{who} answers the same question differently (round {round}): {}", apart(&a, &answer));
            }
        }
    }
    Ok(Verdict::Holds)
}

fn processes(make: &dyn Make) -> Checked {
    let Some(elsewhere) = make.digest_elsewhere() else {
        return Ok(Verdict::NotApplicable("no other process can be started here"));
    };
    let (here, there) = (digest(make)?, elsewhere.map_err(Broken)?);
    if here != there {
        return broken!("answers here have the digest {here}, in another process {there}");
    }
    Ok(Verdict::Holds)
}

fn threads_and_tiles(make: &dyn Make) -> Checked {
    let params = least_params(make)?;
    for values in [Shape::Clustered, Shape::Duplicates] {
        let mut reference = made(make, &params)?;
        let pool = Pool { rows: 2500, values, ..Pool::default() };
        let arrays = arrays(pool, &*reference)?;
        let question = seeded(&arrays, 40, 5).in_round(Round(1));
        let expected = question.picks(&mut *reference, "1 thread")?;
        for (threads, tile_bytes) in [(2, TILE_BYTES), (5, TILE_BYTES), (1, 1), (3, 1000), (2, 16 * 257)] {
            let mut other = made_with(make, &params, threads, tile_bytes)?;
            let case = format!("{threads} threads, tiles of {tile_bytes} bytes, {values:?}");
            let answer = question.picks(&mut *other, &case)?;
            if !same_bits(&expected, &answer) {
                let broken = Broken(format!("the answer changes with {case}: {}", apart(&expected, &answer)));
                return Err(smallest(Case { pool, batch: 40 }, broken, |case| {
                    changed(make, &params, case, (threads, tile_bytes)).unwrap_or_default()
                }));
            }
        }
    }
    Ok(Verdict::Holds)
}

/// Whether a case has another answer with so many threads and tiles of so many bytes.
fn changed(
    make: &dyn Make,
    params: &Value,
    Case { pool, batch }: Case,
    (threads, tile_bytes): (usize, usize),
) -> Result<Option<Broken>, Broken> {
    let (mut one, mut other) = (made(make, params)?, made_with(make, params, threads, tile_bytes)?);
    let arrays = arrays(pool, &*one)?;
    let question = seeded(&arrays, batch, 5).in_round(Round(1));
    let (a, b) = (question.picks(&mut *one, "1 thread")?, question.picks(&mut *other, "made smaller")?);
    Ok((!same_bits(&a, &b)).then(|| Broken(format!("the answer changes: {}", apart(&a, &b)))))
}

fn rows_alone(make: &dyn Make) -> Checked {
    if !make.description().scorer {
        return Ok(Verdict::NotApplicable("it picks a batch as a whole"));
    }
    let mut strategy = made(make, &least_params(make)?)?;
    let pool = Pool { rows: 200, ..Pool::default() };
    let (all, half) = (arrays(pool, &*strategy)?, arrays(Pool { every: 2, ..pool }, &*strategy)?);
    let whole = question(&all, 200).picks(&mut *strategy, "200 rows")?;
    let part = question(&half, 100).picks(&mut *strategy, "every second of 200 rows")?;
    let mut of_row = vec![None; 200];
    for (&row, score) in whole.rows.iter().zip(&whole.scores) {
        of_row[row as usize] = Some(score.to_bits());
    }
    for (&row, score) in part.rows.iter().zip(&part.scores) {
        if of_row[2 * row as usize] != Some(score.to_bits()) {
            let id = half.ids()[row as usize];
            return broken!("sample {id} scores {score} among every second row, and otherwise among all of them");
        }
    }
    Ok(Verdict::Holds)
}

fn order(make: &dyn Make) -> Checked {
    if !make.description().scorer {
        return Ok(Verdict::NotApplicable("it picks a batch as a whole"));
    }
    let mut strategy = made(make, &least_params(make)?)?;
    let arrays = arrays(Pool::default(), &*strategy)?;
    let ask = |strategy: &mut dyn Strategy, batch| seeded(&arrays, batch, 4).picks(strategy, &format!("batch {batch}"));
    let (small, large) = (ask(&mut *strategy, 20)?, ask(&mut *strategy, 50)?);
    if !large.scores.is_sorted_by(|a, b| a >= b) {
        return broken!("scores do not fall: {:?}", large.scores);
    }
    if small.rows != large.rows[..20] {
        return broken!("a batch of 50 does not begin with the batch of 20 of the same question");
    }
    Ok(Verdict::Holds)
}

fn state(make: &dyn Make) -> Checked {
    let params = least_params(make)?;
    let mut first = made(make, &params)?;
    let before = arrays(Pool::default(), &*first)?;
    let kept = question(&before, 20).picks(&mut *first, "round 0")?.state;
    // A later round has other samples in its pool than those that the state was made from.
    let after = arrays(Pool { every: 2, labelled: 40, ..Pool::default() }, &*first)?;
    let later = question(&after, 20).in_round(Round(1));
    if let Err(error) = first.answer(&later.with_state(Some(b"\xff no state of anybody")))
        && error.kind != QueryErrorKind::Failed
    {
        return broken!("a state that is not its own should be an error of its own or no matter, but: {error}");
    }
    let Some(kept) = kept else { return Ok(Verdict::NotApplicable("it keeps nothing from round to round")) };
    let question = later.with_state(Some(&kept));
    let a = question.picks(&mut *first, "round 1")?;
    let b = question.picks(&mut *made(make, &params)?, "round 1, as after a restart")?;
    if !same_bits(&a, &b) {
        return broken!("after a restart the same state leads to another answer: {}", apart(&a, &b));
    }
    Ok(Verdict::Note(format!("keeps {} bytes after a round of 300 rows", kept.len())))
}

fn needs(make: &dyn Make) -> Checked {
    let params = least_params(make)?;
    let mut strategy = made(make, &params)?;
    let mut unused = Vec::new();
    for need in strategy.needs().to_vec() {
        let mut used = false;
        for values in [Shape::Clustered, Shape::Random, Shape::Extreme, Shape::Duplicates] {
            let pool = Pool { values, ..Pool::default() };
            let (as_it_is, other) =
                (arrays(pool, &*strategy)?, pool.with_other(strategy.needs(), need.name()).map_err(Broken)?);
            let a = question(&as_it_is, 40).picks(&mut *strategy, "made-up arrays")?;
            let b = question(&other, 40).picks(&mut *strategy, &format!("other values of `{need}`"))?;
            used |= !same_bits(&a, &b);
        }
        if !used {
            unused.push(need.to_string());
        }
    }
    if unused.is_empty() {
        return Ok(Verdict::Holds);
    }
    Ok(Verdict::Note(format!("no answer seen depends on {}: is it needed?", unused.join(", "))))
}

fn choices(make: &dyn Make) -> Checked {
    let params = least_params(make)?;
    let mut strategy = made(make, &params)?;
    if strategy.needs().iter().all(|need| need.second_choice().is_none()) {
        return Ok(Verdict::NotApplicable("none of its needs leaves a choice"));
    }
    for values in [Shape::Clustered, Shape::Constant, Shape::Duplicates, Shape::Extreme, Shape::Tiny] {
        for (rows, labelled, batches) in [(60, 0, &[1, 60][..]), (300, 20, &[0, 17, 301]), (1, 5, &[1])] {
            let pool = Pool { values, rows, labelled, second_choice: true, ..Pool::default() };
            let arrays = arrays(pool, &*strategy)?;
            for &batch in batches {
                let question = question(&arrays, batch);
                let case = format!("second choices, {values:?}, {labelled} labelled, batch {batch} of {rows}");
                let answer = question.picks(&mut *strategy, &case)?;
                let again = question.picks(&mut *made_with(make, &params, 3, TILE_BYTES)?, &case)?;
                if !same_bits(&answer, &again) {
                    return broken!("3 threads answer differently ({case}): {}", apart(&answer, &again));
                }
            }
        }
    }
    Ok(Verdict::Holds)
}

/// Where two answers differ first, for people.
fn apart(a: &Selection, b: &Selection) -> String {
    if let Some(rank) = a.rows.iter().zip(&b.rows).position(|(a, b)| a != b) {
        return format!("pick {rank} is row {} or row {}", a.rows[rank], b.rows[rank]);
    }
    if let Some(rank) = a.scores.iter().zip(&b.scores).position(|(a, b)| a.to_bits() != b.to_bits()) {
        return format!("the score of pick {rank} is {:?} or {:?}", a.scores[rank], b.scores[rank]);
    }
    format!("rows and scores agree, diagnostics or state do not: {:?} or {:?}", a.diagnostics, b.diagnostics)
}
