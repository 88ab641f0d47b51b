//! Reads a file that another process may have created or replaced. It must be regular and within a size, and reading it
//! must not block.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read as _};
use std::path::Path;

/// The problem of a file, which continues a sentence, and the remedy.
pub(crate) type Problem = (String, &'static str);

/// Returns the content of a regular file of at most `limit` bytes, and what the system says about it.
///
/// # Errors
/// If it cannot be read, is not regular, or is larger.
pub(crate) fn read_regular(path: &Path, limit: u64) -> Result<(Vec<u8>, Metadata), Problem> {
    let unreadable = |error: io::Error| (format!("cannot be read: {error}"), "name a file that this user can read");
    // Check the kind before opening, because opening changes some devices.
    check_kind(&fs::metadata(path).map_err(unreadable)?)?;
    let file = open(path).map_err(unreadable)?;
    // Check it again, because the file may have been replaced.
    let found = file.metadata().map_err(unreadable)?;
    check_kind(&found)?;
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > limit {
        return Err((format!("has more than {} KiB", limit >> 10), "name the right file"));
    }
    Ok((bytes, found))
}

/// Returns the mode of a file that group or others can read.
pub(crate) fn mode_if_others_can_read(found: &Metadata) -> Option<u32> {
    #[cfg(unix)]
    {
        let mode = std::os::unix::fs::MetadataExt::mode(found);
        (mode & 0o044 != 0).then_some(mode & 0o7777)
    }
    #[cfg(not(unix))]
    {
        let _ = found;
        None
    }
}

/// Opens a file with `O_NONBLOCK`. Otherwise a pipe without a writer would block `open`. The flag does not change reads
/// of a regular file.
fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NONBLOCK | libc::O_NOCTTY);
    options.open(path)
}

fn check_kind(found: &Metadata) -> Result<(), Problem> {
    if found.is_file() {
        return Ok(());
    }
    let kind = if found.is_dir() { "is a directory" } else { "is not a regular file" };
    Err((kind.into(), "name a regular file"))
}
