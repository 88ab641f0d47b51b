//! Reads a file that another user may have created. It must be regular and within a size, and reading must not block.
//!
//! The command includes this file too, for its own files.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read as _};
use std::path::Path;

/// The problem of a file that can be opened, and the remedy.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) problem: String,
    pub(crate) remedy: &'static str,
}

#[derive(Debug)]
pub(crate) enum ReadError {
    Io(io::Error),
    Refused(Refusal),
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        ReadError::Io(error)
    }
}

impl From<Refusal> for ReadError {
    fn from(refusal: Refusal) -> Self {
        ReadError::Refused(refusal)
    }
}

/// Returns the content of a regular file of at most `limit` bytes, if `check` accepts it.
pub(crate) fn read(
    path: &Path,
    limit: u64,
    check: impl FnOnce(&Metadata) -> Result<(), Refusal>,
) -> Result<Vec<u8>, ReadError> {
    // Check the kind before opening, because opening changes some devices.
    check_kind(&fs::metadata(path)?)?;
    let file = open(path)?;
    // Check it again, because the file may have been replaced.
    let found = file.metadata()?;
    check_kind(&found)?;
    check(&found)?;
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        let problem = format!("has more than {} KiB", limit >> 10);
        return Err(Refusal { problem, remedy: "name the right file" }.into());
    }
    Ok(bytes)
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

fn check_kind(found: &Metadata) -> Result<(), Refusal> {
    if found.is_file() {
        return Ok(());
    }
    let remedy = "name a regular file, which the next command can read again";
    Err(Refusal { problem: format!("is {}", kind_of(found)), remedy })
}

fn kind_of(found: &Metadata) -> &'static str {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt as _;
        let kind = found.file_type();
        if kind.is_fifo() {
            return "a pipe";
        }
        if kind.is_socket() {
            return "a socket";
        }
        if kind.is_char_device() || kind.is_block_device() {
            return "a device";
        }
    }
    if found.is_dir() { "a directory" } else { "not a regular file" }
}
