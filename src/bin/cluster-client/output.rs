//! Standard output for results, standard error for everything else. A reader that went away is no error: the
//! operations go on, and the exit code tells.

use std::io::{self, IsTerminal as _, Write as _};

use anstream::{AutoStream, ColorChoice};
use cluster_client::Printable;

use crate::args::{Format, Shared};

pub(crate) struct Output {
    pub(crate) format: Format,
    /// Whether a mark stands before each host.
    pub(crate) marks: bool,
    stdout: AutoStream<io::Stdout>,
    closed: bool,
}

impl Output {
    pub(crate) fn new(shared: &Shared) -> Self {
        let stdout = AutoStream::new(io::stdout(), choice(shared.color));
        let marks = io::stdout().is_terminal() || shared.color == clap::ColorChoice::Always;
        Output { format: shared.output, marks, stdout, closed: false }
    }

    /// Prints a result. It may be styled; the styles are taken out where they are not wanted.
    pub(crate) fn print(&mut self, text: &str) {
        if self.closed {
            return;
        }
        let written = self.stdout.write_all(text.as_bytes()).and_then(|()| self.stdout.flush());
        if let Err(error) = written {
            self.closed = true;
            if error.kind() != io::ErrorKind::BrokenPipe {
                say(&format!("warning: results cannot be printed: {error}"));
            }
        }
    }
}

/// Says something on standard error, escaped but for the ends of lines. Where that is closed there is nobody to
/// tell.
pub(crate) fn say(text: &str) {
    let lines: Vec<String> = text.trim_end().split('\n').map(|line| Printable::new(line).to_string()).collect();
    let _ = writeln!(io::stderr(), "{}", lines.join("\n"));
}

pub(crate) fn choice(color: clap::ColorChoice) -> ColorChoice {
    match color {
        clap::ColorChoice::Auto => ColorChoice::Auto,
        clap::ColorChoice::Always => ColorChoice::Always,
        clap::ColorChoice::Never => ColorChoice::Never,
    }
}
