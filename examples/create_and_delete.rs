//! Creates a group on the hosts of `HOSTS`, prints its status, and deletes it.
//!
//! ```sh
//! HOSTS=http://localhost:8000,http://localhost:8001 cargo run --example create_and_delete -- example-group
//! ```

use std::process::ExitCode;

use cluster_client::{ClusterClient, Error};

fn main() -> ExitCode {
    run().unwrap_or_else(|error| {
        eprintln!("{error}");
        // Print each host, not only the summary.
        for warning in error.report().map(cluster_client::Report::warnings).unwrap_or_default() {
            eprintln!("  {warning}");
        }
        ExitCode::FAILURE
    })
}

fn run() -> Result<ExitCode, Error> {
    let group = std::env::args().nth(1).unwrap_or_else(|| "example-group".into());
    let client = ClusterClient::from_env()?;

    let created = client.create_group(&group)?;
    println!("{} in {:.1?}", created.summary(), created.elapsed);

    println!("{}", client.group_status(&group)?.summary());

    let deletion = client.delete_group(&group)?;
    println!("{}", deletion.report().summary());
    Ok(if deletion.undeleted().next().is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
