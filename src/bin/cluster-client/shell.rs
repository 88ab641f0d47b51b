//! completions and man: shell completions and manual pages, generated from the definition of the arguments.

use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use crate::exit::{CliError, Exit};
use crate::help;
use crate::offered;
use crate::output::Output;

const NAME: &str = "cluster-client";

pub(crate) fn completions(shell: Shell, output: &mut Output) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut offered::spelled_out(help::command()), NAME, &mut script);
    let script = String::from_utf8_lossy(&script);
    output.print(&match shell {
        // The generator spells a name with a dash in two ways, so that the cases of the commands are never reached
        // (https://github.com/clap-rs/clap/issues/6421).
        Shell::Bash => script.replace("cluster__subcmd__client", "cluster__client"),
        // With two colons, zsh completes no option after the first group.
        Shell::Zsh => script.replace("'*::", "'*:"),
        _ => script.into_owned(),
    });
    Exit::Done
}

/// Prints the page of the program, or of one command.
pub(crate) fn man(command: &[String], output: &mut Output) -> Result<Exit, CliError> {
    let mut whole = offered::spelled_out(help::command());
    whole.build();
    let page = help::found(&whole, command, &[])?;
    let mut roff = Vec::new();
    write_page(page, &mut roff).map_err(|error| CliError::unchanged(format!("no manual page: {error}")))?;
    output.print(&String::from_utf8_lossy(&roff));
    Ok(Exit::Done)
}

fn write_page(command: clap::Command, page: &mut Vec<u8>) -> std::io::Result<()> {
    // The examples and lists have lines of their own, which `Man` would join.
    let extra = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let man = Man::new(command.after_help(""));
    man.render_title(page)?;
    man.render_name_section(page)?;
    man.render_synopsis_section(page)?;
    man.render_description_section(page)?;
    man.render_options_section(page)?;
    man.render_subcommands_section(page)?;
    let mut more = Roff::new();
    more.control("SH", ["EXAMPLES"]);
    verbatim(&mut more, &extra);
    more.control("SH", ["EXIT STATUS"]);
    verbatim(&mut more, help::EXIT_CODES);
    more.control("SH", ["ENVIRONMENT"]);
    for (name, meaning) in help::environment() {
        more.control("TP", []).text([bold(name)]).text([roman(meaning)]);
    }
    more.control("SH", ["FILES"]);
    for (name, meaning) in help::FILES {
        more.control("TP", []).text([bold(name)]).text([roman(meaning)]);
    }
    more.to_writer(page)
}

/// Adds lines that are not joined.
fn verbatim(roff: &mut Roff, text: &str) {
    roff.control("nf", []);
    for line in text.lines() {
        roff.text([roman(line)]);
    }
    roff.control("fi", []);
}
