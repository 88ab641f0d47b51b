//! Our client as it comes, with the preflight.

fn main() -> std::process::ExitCode {
    cluster_client_compare::run::<cluster_client_compare::ours::OursDefault>()
}
