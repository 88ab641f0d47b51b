//! Errors of the argument parser, and refusals beyond it. They quote the typed text, so passwords are masked and control
//! characters escaped.

use std::ffi::OsString;

use clap::Command;
use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use cluster_client::Printable;

use crate::args::Arguments;
use crate::help;
use crate::likeness::alike;

/// Returns the error without passwords and control characters. All typed text is in its context, except in the usage,
/// which is left unchanged.
pub(crate) fn masked(mut error: clap::Error, typed: impl Iterator<Item = OsString>) -> clap::Error {
    if let Some(ContextValue::String(name)) = error.get(ContextKind::InvalidArg)
        && is_cut(name, typed)
    {
        error.insert(ContextKind::InvalidArg, ContextValue::String("--***".into()));
        error.remove(ContextKind::Suggested);
    }
    let context = error.context().filter(|(kind, _)| *kind != ContextKind::Usage);
    let masked: Vec<_> = context.map(|(kind, value)| (kind, masked_value(value))).collect();
    for (kind, value) in masked {
        error.insert(kind, value);
    }
    error
}

/// Adds what was probably meant by an unknown option: a known one, or one of another command. The parser compares fewer
/// kinds of mistakes, and suggests options that are not similar.
pub(crate) fn with_suggestion(mut error: clap::Error, typed: impl Iterator<Item = OsString>) -> clap::Error {
    let Some(ContextValue::String(name)) = error.get(ContextKind::InvalidArg) else { return error };
    let Some(name) = name.strip_prefix("--").map(str::to_owned) else { return error };
    if error.kind() != ErrorKind::UnknownArgument {
        return error;
    }
    let mut whole = help::command();
    whole.build();
    let command = typed.fold(&whole, |command, word| command.find_subcommand(&word).unwrap_or(command));
    let has_option = |command: &&Command| command.get_arguments().any(|arg| arg.get_long() == Some(&name));
    let tip = match name.as_str() {
        "json" => Some("JSON is '--output json'".to_owned()),
        _ => whole
            .get_subcommands()
            .find(has_option)
            .map(|other| format!("'--{name}' is an option of {}", other.get_name())),
    };
    let mut known = command.get_arguments().filter_map(clap::Arg::get_long);
    let meant = alike(&name, known.by_ref()).map(|meant| format!("--{meant}")).filter(|_| tip.is_none());
    // The tip of the parser is how to pass it as a value, which would make it a group.
    error.remove(ContextKind::Suggested);
    // The usage of the parser has the option that it suggests.
    error.insert(ContextKind::Usage, ContextValue::StyledStr(command.clone().render_usage()));
    error.remove(ContextKind::SuggestedArg);
    if let Some(tip) = tip {
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    }
    if let Some(meant) = meant {
        error.insert(ContextKind::SuggestedArg, ContextValue::String(meant));
    }
    error
}

/// Names the variable in the error of an invalid value, if it is the origin of the value.
pub(crate) fn with_variable(mut error: clap::Error, typed: impl Iterator<Item = OsString>) -> clap::Error {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        _ => None,
    };
    let Some(argument) = text(ContextKind::InvalidArg) else { return error };
    // A switch that may be given again is shown with dots.
    let option = argument.split([' ', '.']).next().unwrap_or_default().to_owned();
    let variable = help::variable(&option);
    let is_typed = typed.into_iter().any(|word| word.to_string_lossy().split('=').next() == Some(&option));
    let value = text(ContextKind::InvalidValue).unwrap_or_default();
    if option.starts_with("--") && !is_typed && std::env::var(&variable).is_ok_and(|found| found == value) {
        error.insert(
            ContextKind::InvalidArg,
            ContextValue::String(format!("{argument}' from the variable '{variable}")),
        );
    }
    error
}

/// Returns whether the arguments, or else the variable, ask for JSON. The parser has refused them, so its result cannot
/// be asked.
pub(crate) fn wants_json(typed: impl Iterator<Item = OsString>) -> bool {
    let words = typed.skip(1).map(|word| word.to_string_lossy().into_owned()).take_while(|word| word != "--");
    let words: Vec<String> = words.collect();
    let value = |at: usize| match words[at].as_str() {
        "-o" | "--output" => words.get(at + 1).map(String::as_str),
        word => ["--output=", "-o=", "-o"].into_iter().find_map(|option| word.strip_prefix(option)),
    };
    let of_variable = || std::env::var(help::variable("--output")).ok();
    (0..words.len()).find_map(value).map(str::to_owned).or_else(of_variable).as_deref() == Some("json")
}

/// Returns the error in one line, without the usage.
pub(crate) fn sentence(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let ends = ["\n\nUsage:", "\n\nFor more information"].into_iter().filter_map(|end| text.find(end));
    let text = &text[..ends.min().unwrap_or(text.len())];
    let lines = text.trim_start_matches("error: ").lines().map(str::trim).filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join("; ")
}

/// Returns whether the name of an unknown option may be a part of a password. The parser ends the name at a `=`, and the
/// rest may contain an at sign. Valid options have only small letters and dashes.
fn is_cut(name: &str, mut typed: impl Iterator<Item = OsString>) -> bool {
    let is_name = |name: &str| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
    let has_user_info = |typed: &str| Printable::masked(typed).to_string() != Printable::new(typed).to_string();
    let is_from = |typed: OsString| {
        let typed = typed.to_string_lossy();
        typed.starts_with(name) && has_user_info(&typed)
    };
    name.starts_with("--") && !is_name(name) && typed.any(is_from)
}

fn masked_value(value: &ContextValue) -> ContextValue {
    match value {
        ContextValue::String(text) => ContextValue::String(masked_text(text)),
        ContextValue::Strings(texts) => ContextValue::Strings(texts.iter().map(|text| masked_text(text)).collect()),
        ContextValue::StyledStr(text) => ContextValue::StyledStr(masked_style(text)),
        ContextValue::StyledStrs(texts) => ContextValue::StyledStrs(texts.iter().map(masked_style).collect()),
        other => other.clone(),
    }
}

fn masked_text(text: &str) -> String {
    Printable::masked(text).to_string()
}

/// Masks text. If it changes, it loses its style.
fn masked_style(text: &StyledStr) -> StyledStr {
    let plain = text.to_string();
    let masked = masked_text(&plain);
    if masked == plain { text.clone() } else { masked.into() }
}

/// The parser drops the hosts before a command if there are others after it. A host must not be dropped.
pub(crate) fn refuse_lost_hosts(arguments: &Arguments, typed: &[OsString]) -> Result<(), clap::Error> {
    let words = typed.iter().map(|word| word.as_encoded_bytes()).take_while(|word| word != b"--");
    let given = words.filter(|word| *word == b"--hosts" || word.starts_with(b"--hosts=")).count();
    if given <= arguments.global.hosts.len() {
        return Ok(());
    }
    let text = "--hosts is given before and after the command: give all of them after it";
    Err(help::command().error(ErrorKind::ArgumentConflict, text))
}

/// Refuses two options of which one is in vain. A variable does not count, because an option overrides it.
pub(crate) fn refuse_both(matches: &clap::ArgMatches, one: &str, other: &str) -> Result<(), clap::Error> {
    let is_typed = |id| matches.value_source(id) == Some(ValueSource::CommandLine);
    if !is_typed(one) || !is_typed(other) {
        return Ok(());
    }
    let [one, other] = [one, other].map(|id| id.replace('_', "-"));
    let text = format!("the argument '--{one}' cannot be used with '--{other}'");
    Err(help::command().error(ErrorKind::ArgumentConflict, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Puts random texts, with a fixed seed, into every place of the arguments.
    #[test]
    fn no_error_of_the_arguments_shows_a_password() {
        const PLACES: [&[&str]; 14] = [
            &[],
            &["create", "g", "--timeout"],
            &["create", "g", "--request-timeout"],
            &["create", "g", "--attempts"],
            &["create", "g", "--output"],
            &["create", "g", "--color"],
            &["repair", "g", "--to"],
            &["hosts"],
            &["recover"],
            &["completions"],
            &["node", "--error-rate"],
            &["node", "--seed"],
            &["man", "create"],
            &["create", "g", "--no-preflight=x"],
        ];
        let mut random = fastrand::Rng::with_seed(15);
        let mut refused = 0;
        for _ in 0..1_200 {
            let mut pick = |below| random.usize(..below);
            let malformed = crate::malformed::hosts(&mut pick);
            let place = PLACES[pick(PLACES.len())];
            let text = match pick(4) {
                0 => format!("--{}", malformed.text),
                1 => format!("--timeout={}", malformed.text),
                _ => malformed.text.clone(),
            };
            let arguments = ["cluster-client"].iter().chain(place).copied().chain([text.as_str()]);
            if let Err(error) = Arguments::from(arguments.clone().map(OsString::from)) {
                let error = masked(error, arguments.map(OsString::from));
                malformed.assert_hidden(&error.to_string());
                malformed.assert_hidden(&error.render().ansi().to_string());
                malformed.assert_hidden(&format!("{error:?}"));
                refused += 1;
            }
        }
        assert!(refused > 900, "{refused}");
    }
}
