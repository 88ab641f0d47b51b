//! Creates a group on every hub of `HUBS`, or on none. The token is in the file that `HUB_TOKEN_FILE` names.
//!
//! The token is that of a service or user whose role has the scope `admin:groups`. Each hub is a JupyterHub, by its base URL, such as
//! `http://hub:8081`. Exit codes: 0 every hub has the group, 1 no hub was changed, 2 a hub needs attention.

use std::process::ExitCode;
use std::time::Duration;

use cluster_client::{Api, ClusterClient, ConfigError, Credentials, Error, Hosts, OperationOptions, Origin, Secret};

fn main() -> ExitCode {
    let Some(group) = std::env::args().nth(1) else {
        eprintln!("usage: jupyterhub-example GROUP");
        return ExitCode::FAILURE;
    };
    match client().and_then(|client| create(&client, &group)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => explain(&error),
    }
}

/// The client of the hubs. Preset, hosts, token and journal are checked here, before anything is sent.
fn client() -> Result<ClusterClient, Error> {
    let hubs = Hosts::parse_list(&variable("HUBS")?, Origin::Environment("HUBS".into()))?;
    let token = Secret::file(variable("HUB_TOKEN_FILE")?);
    ClusterClient::builder()
        .hosts(&hubs)
        .api(Api::preset("jupyterhub")?)
        .credentials(Credentials::bearer(token)) // The file is read again every minute, so the token may be renewed.
        .request_timeout(Duration::from_secs(5))
        .journal("jupyterhub-journal") // What a crash interrupts, `recover` settles.
        .build()
}

fn create(client: &ClusterClient, group: &str) -> Result<(), Error> {
    // An earlier run may have been killed. It is settled in the API and on the hubs that its record names.
    for unsettled in client.recover()?.unsettled {
        eprintln!("not settled yet: {unsettled}");
    }
    let options = OperationOptions::new().timeout(Duration::from_secs(60));
    let report = client.with(options).create_group(group)?;
    println!("{}", report.summary());
    Ok(())
}

/// Says what the error means for the hubs, and what to do next.
fn explain(error: &Error) -> ExitCode {
    eprintln!("{error}");
    for host in error.report().iter().flat_map(|report| &report.hosts) {
        let reason = host.reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
        eprintln!("  {}: {}{reason}", host.host, host.state);
    }
    let (next, code) = match error {
        // A host, the token file, the journal, or a group id that the preset does not allow.
        Error::Config { .. } => ("nothing was sent: correct that value", 1),
        Error::AlreadyExists { .. } => ("use the group, or choose another name", 1),
        // 403 of every hub: the token is not valid, or its role lacks `admin:groups`.
        Error::Unavailable { .. } => ("nothing was changed: see that each hub is up and accepts the token", 1),
        Error::RolledBack { .. } => ("no hub has the group: try again", 1),
        Error::Cancelled { .. } | Error::TimedOut { .. } => ("no hub was changed, which is verified: try again", 1),
        Error::Busy { .. } => ("another process works on this group: wait for it", 1),
        Error::Journal { .. } => ("nothing was sent: make the journal writable", 1),
        Error::Incomplete { .. } | Error::InDoubt { .. } => ("run this again when the named hubs answer", 2),
        Error::Unrecorded { .. } => ("every hub has the group, but the journal does not know: repair it to present", 2),
        Error::Conflict { .. } => ("recover the unfinished operation with the API and hosts that it names", 2),
        _ => ("this version of the library has an error that is new to this program", 2),
    };
    eprintln!("{next}");
    ExitCode::from(code)
}

fn variable(name: &'static str) -> Result<String, ConfigError> {
    std::env::var(name)
        .map_err(|_| ConfigError::new(name, "", "is not set", "set it, as in the first lines of Cargo.toml"))
}
