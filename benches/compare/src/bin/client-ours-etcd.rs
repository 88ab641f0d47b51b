//! Our client with the preflight off and a journal in etcd.

fn main() -> std::process::ExitCode {
    cluster_client_compare::run::<cluster_client_compare::ours::OursEtcd>()
}
