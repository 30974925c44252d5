//! `startjobs completions`: what a shell needs to complete our words.

use std::process::ExitCode;

use clap::builder::PossibleValuesParser;
use clap::{Arg, Args, Command};
use clap_complete::{Shell, generate};

use super::{exit, output};
use crate::settings::flags::is_setting;
use crate::settings::shape::Shape;
use crate::settings::table::row;

const EXAMPLES: &str = "Examples:
  startjobs completions bash > ~/.local/share/bash-completion/completions/startjobs
  startjobs completions zsh > ~/.zfunc/_startjobs
  startjobs completions fish > ~/.config/fish/completions/startjobs.fish";

/// Print the completions of a shell
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES)]
pub(super) struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// Runs it, for this command tree.
pub(super) fn run(args: &CompletionsArgs, tree: &Command) -> ExitCode {
    output::print(&script(args.shell, tree));
    ExitCode::from(exit::DONE)
}

fn script(shell: Shell, tree: &Command) -> String {
    let mut tree = with_values(shown(tree));
    let mut text = Vec::new();
    generate(shell, &mut tree, "startjobs", &mut text);
    let text = String::from_utf8_lossy(&text).into_owned();
    // The generators of these two know options, and no values of them.
    match shell {
        Shell::Elvish => before(&text, "    $completions[$command]\n", &elvish(&values(&tree, "startjobs"))),
        Shell::PowerShell => {
            before(&text, "    $completions = @(switch ($command) {\n", &powershell(&values(&tree, "startjobs")))
        }
        _ => text,
    }
}

/// The tree without its hidden commands, which the generators would offer. What a completion does not show is left out.
fn shown(tree: &Command) -> Command {
    let below = tree.get_subcommands().filter(|below| !below.is_hide_set()).map(shown);
    let about = tree.get_about().cloned().unwrap_or_default();
    let has_version = tree.get_version().map(str::to_owned);
    let command = Command::new(tree.get_name().to_owned()).about(about).args(tree.get_arguments().cloned());
    let command = command.subcommands(below).subcommand_required(tree.is_subcommand_required_set());
    match has_version {
        Some(version) => command.version(version),
        None => command,
    }
}

/// The tree, in which settings with a closed list of values say so. For parsing they are texts: a bad one is a problem of the
/// settings among all others. A switch is left out: alone it means on, and behind a space its value would be another word.
fn with_values(tree: Command) -> Command {
    let with = |arg: Arg| {
        if !is_setting(&arg) {
            return arg;
        }
        match row(arg.get_id().as_str()).map(|row| row.shape) {
            Some(Shape::Choice(words)) => arg.value_parser(PossibleValuesParser::new(words)),
            _ => arg,
        }
    };
    tree.mut_args(with).mut_subcommands(with_values)
}

/// An option of one command, and its values.
struct OptionValues {
    /// The command and the option, as `startjobs;runtime;list --state`.
    asked: String,
    values: Vec<String>,
}

fn values(command: &Command, path: &str) -> Vec<OptionValues> {
    let of_option = |arg: &Arg| {
        let option = arg.get_long().filter(|_| arg.get_action().takes_values() && !arg.is_hide_set())?;
        let values: Vec<String> = arg.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect();
        (!values.is_empty()).then(|| OptionValues { asked: format!("{path} --{option}"), values })
    };
    let own = command.get_arguments().filter_map(of_option);
    let shown = command.get_subcommands().filter(|below| !below.is_hide_set());
    let below = shown.flat_map(|below| values(below, &format!("{path};{}", below.get_name())));
    own.chain(below).collect()
}

/// The text with more in front of this line, which the generator writes once.
fn before(text: &str, line: &str, more: &str) -> String {
    text.replacen(line, &format!("{more}{line}"), 1)
}

fn elvish(options: &[OptionValues]) -> String {
    let line = |OptionValues { asked, values }: &OptionValues| format!("        &'{asked}'= [{}]\n", values.join(" "));
    let lines: String = options.iter().map(line).collect();
    format!(
        "    var values = [\n{lines}    ]\n    if (> (count $words) 1) {{\n        var asked = $command' '$words[-2]\n        \
         if (has-key $values $asked) {{\n            all $values[$asked]\n            return\n        }}\n    }}\n"
    )
}

fn powershell(options: &[OptionValues]) -> String {
    let line =
        |OptionValues { asked, values }: &OptionValues| format!("        '{asked}' {{ '{}' }}\n", values.join("', '"));
    let lines: String = options.iter().map(line).collect();
    format!(
        "    $before = if ($wordToComplete) {{ $commandElements[-2] }} else {{ $commandElements[-1] }}\n    \
         $values = @(switch (\"$command $before\") {{\n{lines}    }})\n    if ($values) {{\n        \
         return $values.Where{{ $_ -like \"$wordToComplete*\" }} | ForEach-Object {{\n            \
         [CompletionResult]::new($_, $_, [CompletionResultType]::ParameterValue, $_)\n        }}\n    }}\n"
    )
}
