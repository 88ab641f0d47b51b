//! Reads files as the library does, and checks that no other user could have written them.

use std::fs::Metadata;
use std::path::Path;

/// One implementation for the library and the command. It is not public, because no other program needs it.
#[path = "../../http/file.rs"]
mod file;

use self::file::{FileProblem, mode_with};
pub(crate) use self::file::{ReadError, read};

/// Refuses a file that another user could have written. Its owner must be this user or root, and its group and others
/// must not be able to write it. The owner of a link at `path` is checked too, because it chooses the file. Other systems
/// than Unix have no such owners and modes.
pub(crate) fn check_writers(path: &Path, found: &Metadata) -> Result<(), FileProblem> {
    check_owner(path, found)?;
    let Some(mode) = mode_with(0o022, found) else { return Ok(()) };
    let problem = format!("can be written by other users (mode {mode:04o})");
    Err((problem, "run chmod go-w on it, or name it with --config if you trust it"))
}

#[cfg(unix)]
fn check_owner(path: &Path, found: &Metadata) -> Result<(), FileProblem> {
    use std::os::unix::fs::MetadataExt as _;
    let user = own_user();
    let named = std::fs::symlink_metadata(path).map_or(user, |link| link.uid());
    let Some(owner) = [found.uid(), named].into_iter().find(|owner| ![user, 0].contains(owner)) else { return Ok(()) };
    let problem = format!("belongs to the user {owner}, and this command runs as the user {user}");
    Err((problem, "name it with --config if you trust it, or chown it"))
}

#[cfg(not(unix))]
fn check_owner(_: &Path, _: &Metadata) -> Result<(), FileProblem> {
    Ok(())
}

/// Returns the effective user of this process.
#[cfg(unix)]
fn own_user() -> u32 {
    rustix::process::geteuid().as_raw()
}
