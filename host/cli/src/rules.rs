//! What `querist explain` says of the rules that strategies keep: more than the rule's own sentence.

use querist_conformance::{measurements, rules};

use crate::codes::Entry;

/// The rule about small runs, which only strategies that train have.
pub const TRIAL: (&str, &str) = ("trial", "two small runs with it on the built-in digits end alike");

/// Usual causes of a broken rule, and what to do.
const ADVICE: &[(&str, &str, &str)] = &[
    (
        "description",
        "An id in capital letters, an empty summary or paper, needs that depend on something else than parameters.",
        "Mend what the message names, and pack again.",
    ),
    (
        "schema",
        "A parameter without description or default, `additionalProperties` left open, or defaults in the schema that \
         are not those of the code.",
        "Declare parameters with `params!`, which keeps both alike; in other languages give every property \
         `description` and `default`.",
    ),
    (
        "examples",
        "An example that the schema forbids, or a branch of the code that fails.",
        "Run `querist plugin check --params EXAMPLE`.",
    ),
    (
        "answers",
        "A batch larger than the pool, a pool of no or one row, no labelled rows: an index, a division or a loop that \
         expects more.",
        "Pick `min(batch, rows)` rows, each once; fill up with `fill_at_random` or `fill_by` of the SDK where the \
         method finds no more. The smallest case is in the message.",
    ),
    (
        "degenerate-pools",
        "Rows that are all equal, saturated probabilities, a class without labels: a distance of 0, a logarithm of 0, \
         a mean of nothing.",
        "Decide what an answer is there; ties go to the lower row. `math` has safe logarithms, `uncertainty` is exact \
         for saturated rows.",
    ),
    (
        "repeats",
        "A random number that is not drawn from a stream, memory that outlives a question, or an order of a hash map.",
        "Take randomness from `query.stream`, keep nothing in statics, use ordered maps.",
    ),
    (
        "processes",
        "A seed from the clock or an address, or an order of a hash map, which each process has anew.",
        "As for `repeats`.",
    ),
    (
        "threads-and-tiles",
        "A score that depends on the other rows of its tile, or a sum whose order depends on threads.",
        "Score each row by itself; what needs the whole pool is a selector, not a scorer.",
    ),
    ("rows-alone", "A scorer that normalises over the rows it sees.", "Make it a selector."),
    (
        "order",
        "Picks that are sorted by something else than the scores.",
        "Return the scores by which rows are ranked; a second score breaks ties.",
    ),
    (
        "state",
        "A state that is read without a look at its form, or that holds row numbers, which change from round to round.",
        "Keep sample ids; answer a state that is not your own with an error.",
    ),
    ("needs", "An array that is asked for and never read.", "Leave it out: users would have to bring it."),
    ("choices", "A need with a second choice, of which the code reads the first one only.", "Ask `query.has(name)`."),
    ("growth", "This only measures; it is broken where a question has no answer.", "As for `answers`."),
    (
        "cancel",
        "A long loop in the plugin that never reports progress.",
        "Call `query.progress(done, total)?` in loops; kernels look for themselves.",
    ),
    (
        "process",
        "A native plugin that changes the working folder, the environment, signals or floating-point modes.",
        "Leave the process as it was.",
    ),
    (
        "leaks",
        "A native plugin that allocates and never frees, or handles that are not released.",
        "Free what a question made before its answer.",
    ),
    (
        "trial",
        "A draw outside the generators of the round, or state that is kept in statics.",
        "Draw from libtorch's generators, which the host seeds, or from named streams.",
    ),
];

/// Every rule that `querist plugin check` can report.
pub fn entries() -> Vec<Entry> {
    let rules = rules().iter().chain(measurements()).map(|rule| (rule.name, rule.says)).chain([TRIAL]);
    let entry = |(name, says): (&'static str, &'static str)| {
        let told = ADVICE.iter().find(|(of, ..)| *of == name);
        let (cause, advice) = told.map_or(("", ""), |(_, cause, advice)| (*cause, *advice));
        Entry { code: name, means: says, cause, advice }
    };
    rules.map(entry).collect()
}
