//! Exit codes, and errors that end the command before it has a result.

use std::process::ExitCode;

use cluster_client::{ConfigError, Error, JournalError, Outcome, Printable};

/// The exit codes, as in the table of the help page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// The requested state is verified on every host.
    Done = 0,
    /// It failed, and the cluster is unchanged.
    Unchanged = 1,
    /// A value was refused; nothing was sent.
    Usage = 2,
    /// Hosts have the group, or keep it, although they should not.
    Inconsistent = 3,
    /// The state of some host is unknown.
    InDoubt = 4,
    /// The group was already there.
    AlreadyThere = 5,
    /// Cancelled by a signal.
    Interrupted = 130,
}

impl Exit {
    /// Returns the exit of a code in the library's table of outcomes.
    pub(crate) fn of(code: u8) -> Exit {
        let all = [Exit::Done, Exit::Unchanged, Exit::Usage, Exit::Inconsistent, Exit::InDoubt, Exit::AlreadyThere];
        all.into_iter().find(|exit| exit.code() == code).unwrap_or(Exit::InDoubt)
    }

    pub(crate) fn code(self) -> u8 {
        self as u8
    }

    /// Returns the exit of two groups together: the more urgent one.
    pub(crate) fn with(self, other: Exit) -> Exit {
        let urgency = |exit: &Exit| match exit {
            Exit::Done => 0,
            Exit::AlreadyThere => 1,
            Exit::Unchanged => 2,
            Exit::InDoubt => 3,
            Exit::Inconsistent => 4,
            Exit::Usage | Exit::Interrupted => 5,
        };
        std::cmp::max_by_key(self, other, urgency)
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}

/// The reason why the command ends without a result, with the remedy in its message.
#[derive(Debug)]
pub(crate) struct CliError {
    pub(crate) exit: Exit,
    pub(crate) outcome: Outcome,
    pub(crate) message: String,
}

impl CliError {
    /// Creates a usage or configuration error: nothing was sent. Masks possible user info in the message.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        let message = Printable::masked_sentence(&message.into()).to_string();
        CliError { exit: Exit::Usage, outcome: Outcome::Refused, message }
    }

    /// Creates the error of a command that failed and changed nothing.
    pub(crate) fn unchanged(message: impl Into<String>) -> Self {
        let message = Printable::new(&message.into()).to_string();
        CliError { exit: Exit::Unchanged, outcome: Outcome::Refused, message }
    }
}

impl From<ConfigError> for CliError {
    /// Takes the message unchanged, because the error has masked its texts already.
    fn from(error: ConfigError) -> Self {
        CliError { exit: Exit::Usage, outcome: Outcome::Refused, message: error.to_string() }
    }
}

impl From<JournalError> for CliError {
    /// The journal as a whole cannot be used.
    fn from(error: JournalError) -> Self {
        CliError { exit: Exit::Unchanged, outcome: Outcome::JournalFailed, message: with_causes(&error) }
    }
}

impl From<Error> for CliError {
    fn from(error: Error) -> Self {
        CliError { exit: Exit::of(error.exit_code()), outcome: error.outcome(), message: with_causes(&error) }
    }
}

/// Returns an error and its causes in one line, escaped, because a cause may quote a server or a file.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    Printable::new(&text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_of_several_groups_is_the_first_of_3_4_1_5_0() {
        let order = [Exit::Inconsistent, Exit::InDoubt, Exit::Unchanged, Exit::AlreadyThere, Exit::Done];
        for (place, first) in order.iter().enumerate() {
            for second in &order[place..] {
                assert_eq!(first.with(*second), *first);
                assert_eq!(second.with(*first), *first);
            }
        }
    }
}
