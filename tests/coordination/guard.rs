//! Ends all processes of the test if it is killed itself: no destructor runs then, and a process that is stopped would stay
//! for ever.

use std::process::{ChildStdin, Command, Stdio};
use std::sync::OnceLock;

/// The process group that ends with the test. Start each process in it.
pub(crate) fn group() -> i32 {
    static GUARD: OnceLock<(i32, ChildStdin)> = OnceLock::new();
    GUARD.get_or_init(guard).0
}

/// The leader of the group waits for the end of its input, which comes with the end of this process.
fn guard() -> (i32, ChildStdin) {
    let mut command = Command::new("sh");
    command.args(["-c", "cat >/dev/null; kill -s KILL 0"]).stdin(Stdio::piped());
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    #[expect(clippy::zombie_processes, reason = "it lives longer than this process")]
    let mut guard = command.stdout(Stdio::null()).spawn().unwrap();
    (guard.id().try_into().unwrap(), guard.stdin.take().unwrap())
}
