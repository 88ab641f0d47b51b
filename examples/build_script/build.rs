//! Creates a group on the hosts of `HOSTS` before the crate is built. cargo reads the standard output; the library
//! prints nothing there.

use cluster_client::{ClusterClient, Error, Report};

fn main() {
    println!("cargo::rerun-if-env-changed=HOSTS");
    if std::env::var_os("HOSTS").is_none() {
        println!("cargo::warning=HOSTS is not set, so no group is created");
        return;
    }
    match ClusterClient::from_env().and_then(|client| client.create_group("build-example")) {
        Ok(report) => warn(Some(&report)),
        Err(Error::AlreadyExists { .. }) => {}
        Err(error) => {
            println!("cargo::error={error}");
            warn(error.report());
        }
    }
}

/// Prints a warning for each host, and each file, that needs a person.
fn warn(report: Option<&Report>) {
    for warning in report.map(Report::warnings).unwrap_or_default() {
        println!("cargo::warning={warning}");
    }
}
