//! Our client on one thread, with the preflight off: the same requests as the peers.

fn main() -> std::process::ExitCode {
    cluster_client_compare::run::<cluster_client_compare::ours::OursMultiplexed>()
}
