//! node: one node of the API in the foreground, with faults on request.

use std::io;
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use cluster_client::Printable;
use cluster_client::testing::{Method, Node, NodeBuilder, Rates, TrailingSlash};
use serde_json::json;

use crate::args::Format;
use crate::exit::{CliError, Exit};
use crate::json;
use crate::output::{Output, eprint};
use crate::signal;
use crate::time::parse_option;
use crate::whole_number;

#[derive(Debug, Args)]
pub(crate) struct NodeOptions {
    /// The address to listen on; port 0 is any free port
    #[arg(default_value = "127.0.0.1:8000", value_name = "ADDRESS")]
    address: String,
    /// Keep the groups in FILE, so that they survive a restart
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,
    /// The time that each request takes
    #[arg(long, value_name = "TIME", value_parser = parse_option, allow_hyphen_values = true)]
    delay: Option<Duration>,
    #[command(flatten)]
    rates: RateOptions,
    #[command(flatten)]
    habits: Habits,
}

/// The share of requests with each fault, from 0 to 1.
#[derive(Debug, Args)]
#[command(next_help_heading = "Faults, each a share of the requests from 0 to 1")]
struct RateOptions {
    /// Answer 500, 502, 503, 504 or 429 and do nothing
    #[arg(long, value_name = "RATE", default_value_t = 0.0, hide_default_value = true)]
    error_rate: f64,
    /// Apply the request, but answer with one of these errors
    #[arg(long, value_name = "RATE", default_value_t = 0.0, hide_default_value = true)]
    error_after_rate: f64,
    /// Answer 400 and do nothing
    #[arg(long, value_name = "RATE", default_value_t = 0.0, hide_default_value = true)]
    bad_request_rate: f64,
    /// Close the connection and do nothing
    #[arg(long, value_name = "RATE", default_value_t = 0.0, hide_default_value = true)]
    drop_rate: f64,
    /// Apply the request, but close the connection without an answer
    #[arg(long, value_name = "RATE", default_value_t = 0.0, hide_default_value = true)]
    drop_after_rate: f64,
    /// Never answer
    #[arg(long, value_name = "RATE", default_value_t = 0.0, hide_default_value = true)]
    mute_rate: f64,
    /// Close the connection, and apply the request later
    #[arg(long, value_name = "RATE", default_value_t = 0.0, hide_default_value = true)]
    late_rate: f64,
    /// Answer a GET with the state before the last change
    #[arg(long, value_name = "RATE", default_value_t = 0.0, hide_default_value = true)]
    stale_rate: f64,
    /// The only requests with these faults
    #[arg(long, value_enum, value_name = "REQUEST")]
    only: Option<Request>,
    /// The seed of the faults: equal seeds give equal faults
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true, value_parser = whole_number::parse_option::<u64>)]
    seed: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Request {
    Create,
    Check,
    Delete,
}

/// Behaviour in which real nodes differ.
#[derive(Debug, Args)]
#[command(next_help_heading = "Habits, in which real nodes differ")]
struct Habits {
    /// The answer to the creation of an existing group
    #[arg(long, value_name = "STATUS", default_value_t = 400, value_parser = whole_number::parse_option::<u16>)]
    existing_status: u16,
    /// The answer to a deletion
    #[arg(long, value_name = "STATUS", default_value_t = 200, value_parser = whole_number::parse_option::<u16>)]
    deleted_status: u16,
    /// The answer to the deletion of a missing group
    #[arg(long, value_name = "STATUS", default_value_t = 404, value_parser = whole_number::parse_option::<u16>)]
    absent_status: u16,
    /// The path of the groups
    #[arg(long, value_name = "PATH", default_value = "/v1/group/")]
    path: String,
    /// The reaction to a path with a missing or an extra slash at its end
    #[arg(long, value_enum, value_name = "HABIT", default_value_t = Slash::Lenient)]
    slash: Slash,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Slash {
    /// Accept it
    Lenient,
    /// Answer 404
    Strict,
    /// Answer 307
    Redirect,
}

/// Serves until a signal arrives. Prints the URL on standard output as soon as it serves.
pub(crate) fn serve(options: NodeOptions, quiet: bool, output: &mut Output) -> Result<Exit, CliError> {
    let address = options.address.clone();
    let (stop, stopped) = mpsc::channel();
    signal::once(move || {
        let _ = stop.send(());
    })?;
    let node = builder(options).start().map_err(|error| refused(&address, &error))?;
    output.print(&match output.format {
        Format::Json => json::own_line("node", &json!({ "url": node.url() })),
        Format::Table | Format::Name => format!("{}\n", node.url()),
    });
    if !quiet {
        eprint("a node of the group API; Ctrl-C stops it");
    }
    let _ = stopped.recv();
    drop(node);
    Ok(Exit::Done)
}

fn builder(options: NodeOptions) -> NodeBuilder {
    let NodeOptions { address, data, delay, rates, habits } = options;
    let builder = Node::builder()
        .address(address)
        .seed(rates.seed)
        .rates(Rates {
            error: rates.error_rate,
            error_after_apply: rates.error_after_rate,
            bad_request: rates.bad_request_rate,
            drop_before: rates.drop_rate,
            drop_after: rates.drop_after_rate,
            mute: rates.mute_rate,
            apply_late: rates.late_rate,
            stale: rates.stale_rate,
            only: rates.only.map(|request| match request {
                Request::Create => Method::Post,
                Request::Check => Method::Get,
                Request::Delete => Method::Delete,
            }),
            ..Rates::default()
        })
        .latency(delay.unwrap_or_default())
        .existing_status(habits.existing_status)
        .deleted_status(habits.deleted_status)
        .absent_status(habits.absent_status)
        .path(habits.path)
        .trailing_slash(match habits.slash {
            Slash::Lenient => TrailingSlash::Lenient,
            Slash::Strict => TrailingSlash::Strict,
            Slash::Redirect => TrailingSlash::Redirect(307),
        });
    match data {
        Some(data) => builder.data_file(data),
        None => builder,
    }
}

fn refused(address: &str, error: &io::Error) -> CliError {
    let remedy = match error.kind() {
        io::ErrorKind::AddrInUse => ": give another address, or 127.0.0.1:0 for any free port",
        io::ErrorKind::PermissionDenied if error.to_string().contains(address) => {
            ": give an address with a port above 1023"
        }
        io::ErrorKind::InvalidInput if error.to_string().contains(address) => ": write it as 127.0.0.1:8000",
        _ => "",
    };
    let error = error.to_string().replace(address, &Printable::masked(address).to_string());
    CliError::usage(format!("{error}{remedy}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_refused_address_has_a_remedy_about_its_port() {
        let message = |text: &str| {
            let error = io::Error::new(io::ErrorKind::PermissionDenied, text.to_owned());
            refused("127.0.0.1:80", &error).message
        };
        assert!(
            message("a node cannot listen on 127.0.0.1:80: denied")
                .ends_with(": give an address with a port above 1023")
        );
        assert_eq!(message("data file x: denied"), "data file x: denied");
    }
}
