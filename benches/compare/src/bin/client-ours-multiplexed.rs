//! Our client on one thread, without preflight, with the requests of the peers.

fn main() -> std::process::ExitCode {
    cluster_client_compare::run::<cluster_client_compare::ours::OursMultiplexed>()
}
