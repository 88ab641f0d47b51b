//! tokio + reqwest on one thread: the reference.

fn main() -> std::process::ExitCode {
    cluster_client_compare::run::<cluster_client_compare::reqwest_one::ReqwestOne<false>>()
}
