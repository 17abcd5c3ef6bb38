//! `querist completions` and `querist man`: the command line for shells, and as manual pages.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, Command, ValueEnum};
use clap_complete::Shell;
use querist_files::shown;

use crate::output;

/// Print what a shell needs to complete verbs, flags and their values.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  querist completions bash > ~/.local/share/bash-completion/completions/querist")]
pub struct CompletionsArgs {
    /// The shell.
    #[arg(value_enum)]
    shell: Sort,
}

/// Shells with completions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Sort {
    /// For a file `querist` in `~/.local/share/bash-completion/completions`.
    Bash,
    /// For a file `_querist` in a folder of `$fpath`.
    Zsh,
    /// For a file `querist.fish` in `~/.config/fish/completions`.
    Fish,
}

/// Write the manual pages of all verbs.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  querist man --out ~/.local/share/man/man1 && man querist-select")]
pub struct ManArgs {
    /// Folder of the pages, which is made: `querist.1`, and one page a verb.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// Runs the verb `completions` for this command line.
pub fn completions(args: &CompletionsArgs, command: Command) -> Result<()> {
    let shell = match args.shell {
        Sort::Bash => Shell::Bash,
        Sort::Zsh => Shell::Zsh,
        Sort::Fish => Shell::Fish,
    };
    let (name, mut text) = (command.get_name().to_owned(), Vec::new());
    clap_complete::generate(shell, &mut visible(command), name, &mut text);
    output::bytes(&text, None)
}

/// Runs the verb `man` for this command line.
pub fn man(args: &ManArgs, command: Command) -> Result<()> {
    let cannot = || format!("cannot write the pages into {}", shown(&args.out));
    std::fs::create_dir_all(&args.out).with_context(cannot)?;
    clap_mangen::generate_to(command, &args.out).with_context(cannot)?;
    output::note(&format!("the pages are in {}", shown(&args.out)));
    Ok(())
}

/// The same command line without what only the program itself calls: shells are told everything that is there.
fn visible(command: Command) -> Command {
    // Names of commands live as long as the process, which ends with this.
    let name: &'static str = command.get_name().to_owned().leak();
    let mut bare = Command::new(name).disable_help_flag(true);
    if let Some(about) = command.get_about() {
        bare = bare.about(about.clone());
    }
    let flags: Vec<_> = command.get_arguments().filter(|flag| !flag.is_hide_set()).cloned().collect();
    let verbs: Vec<_> = command.get_subcommands().filter(|verb| !verb.is_hide_set()).cloned().map(visible).collect();
    bare.args(flags).subcommands(verbs)
}

#[cfg(test)]
mod tests {
    use clap::Arg;

    use super::*;

    #[test]
    fn what_is_hidden_is_told_to_no_shell() {
        let inner = Command::new("work").arg(Arg::new("own").long("own").hide(true)).arg(Arg::new("out").long("out"));
        let all = Command::new("it").subcommand(inner).subcommand(Command::new("secret").hide(true));
        let told = visible(all);
        let work = told.find_subcommand("work").unwrap();
        assert_eq!(work.get_arguments().map(|flag| flag.get_id().as_str()).collect::<Vec<_>>(), ["out"]);
        assert!(told.find_subcommand("secret").is_none());
    }
}
