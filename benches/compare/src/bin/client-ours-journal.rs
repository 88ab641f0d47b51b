//! Our client with the preflight off and a journal.

fn main() -> std::process::ExitCode {
    cluster_client_compare::run::<cluster_client_compare::ours::OursJournal>()
}
