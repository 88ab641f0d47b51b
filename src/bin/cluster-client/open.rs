//! Reads files as the library does, and checks that no other user could have written them.

use std::fs::{self, Metadata};
use std::path::Path;

/// One implementation for the library and the command. It is not public, because no other program needs it.
#[path = "../../http/file.rs"]
mod file;

pub(crate) use self::file::{ReadError, Refusal, read};

/// Refuses a file that another user could have written. Its owner must be this user or root, and its group and others
/// must not be able to write it. The owner of a link at `path` is checked too, because it chooses the file.
#[cfg(unix)]
pub(crate) fn check_owner(path: &Path, found: &Metadata) -> Result<(), Refusal> {
    use std::os::unix::fs::MetadataExt as _;
    let user = own_user();
    let named = fs::symlink_metadata(path).map_or(user, |link| link.uid());
    if let Some(owner) = [found.uid(), named].into_iter().find(|owner| ![user, 0].contains(owner)) {
        let problem = format!("belongs to the user {owner}, and this command runs as the user {user}");
        return Err(Refusal { problem, remedy: "name it with --config if you trust it, or chown it" });
    }
    if found.mode() & 0o022 != 0 {
        let problem = format!("can be written by other users (mode {:04o})", found.mode() & 0o7777);
        return Err(Refusal { problem, remedy: "run chmod go-w on it, or name it with --config if you trust it" });
    }
    Ok(())
}

/// Accepts every file, because other systems have no such owners and modes.
#[cfg(not(unix))]
pub(crate) fn check_owner(_: &Path, _: &Metadata) -> Result<(), Refusal> {
    Ok(())
}

/// Returns the effective user of this process.
#[cfg(unix)]
fn own_user() -> u32 {
    rustix::process::geteuid().as_raw()
}
