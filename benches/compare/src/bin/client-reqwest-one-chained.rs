//! tokio + reqwest on one thread, each GET as soon as its POST is answered.

fn main() -> std::process::ExitCode {
    cluster_client_compare::run::<cluster_client_compare::reqwest_one::ReqwestOne<true>>()
}
