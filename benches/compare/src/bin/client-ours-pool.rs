//! Our client by the plain engine of threads, with the preflight off.

fn main() -> std::process::ExitCode {
    cluster_client_compare::run::<cluster_client_compare::ours::OursPool>()
}
