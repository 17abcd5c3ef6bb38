//! This call once more, as a user can paste it.

use std::ffi::OsString;

/// Arguments with which the program starts itself, and which are no user's; and where to stop, which is over.
const GONE: [&str; 2] = ["--with-parent", "--stop-after"];

/// The command of this process, quoted for a shell, with what is to be added to it: flags that are not there yet, and
/// options with their values. `None` where the command cannot be shown as it is.
pub fn command(add: &[(&str, Option<String>)]) -> Option<String> {
    quoted(crate::program::args(), add)
}

/// One argument of a command, quoted for a shell where it needs to be.
pub fn argument(word: &str) -> String {
    shlex::try_quote(word).map_or_else(|_| word.to_owned(), |quoted| quoted.into_owned())
}

fn quoted(args: Vec<OsString>, add: &[(&str, Option<String>)]) -> Option<String> {
    let args = args.into_iter().map(OsString::into_string).collect::<Result<Vec<_>, _>>().ok()?;
    let mut words = Vec::with_capacity(args.len() + 2 * add.len());
    let mut rest = args.into_iter();
    while let Some(word) = rest.next() {
        let with_value = |name: &str| word.strip_prefix(name).is_some_and(|rest| rest.starts_with('='));
        if GONE.contains(&word.as_str()) {
            rest.next();
        } else if !GONE.iter().any(|name| with_value(name)) {
            words.push(word);
        }
    }
    for (name, value) in add {
        let with_value = format!("{name}=");
        if !words.iter().any(|word| word == name || word.starts_with(&with_value)) {
            words.push((*name).to_owned());
            words.extend(value.clone());
        }
    }
    // What a message would have to change is no command any more.
    if words.iter().any(|word| !querist_protocol::is_showable(word)) {
        return None;
    }
    shlex::try_join(words.iter().map(String::as_str)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(args: &[&str], add: &[(&str, Option<&str>)]) -> Option<String> {
        let add: Vec<_> = add.iter().map(|(name, value)| (*name, value.map(str::to_owned))).collect();
        quoted(args.iter().map(OsString::from).collect(), &add)
    }

    #[test]
    fn everything_that_was_said_is_said_again() {
        let args = ["querist", "run", "a b.toml", "--set", "strategy.id='x y'", "--device=cpu", "--with-parent", "7"];
        let args = [&args[..], &["--stop-after", "cycle0", "--stop-after=2"]].concat();
        let again = said(&args, &[("--out", Some("it's")), ("--resume", None), ("--device", Some("cuda:0"))]).unwrap();
        let words = shlex::split(&again).unwrap();
        let wanted =
            ["querist", "run", "a b.toml", "--set", "strategy.id='x y'", "--device=cpu", "--out", "it's", "--resume"];
        assert_eq!(words, wanted, "{again}");
        assert_eq!(said(&["querist", "run", "\u{1b}[31m.toml"], &[]), None);
    }
}
