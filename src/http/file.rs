//! Reads a file that another user may have created, or another process may replace. It must be regular and within a size,
//! and reading must not block.
//!
//! The command includes this file too, for its own files.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read as _};
use std::path::Path;

/// The problem of a file, which continues a sentence, and the remedy.
pub(crate) type FileProblem = (String, &'static str);

#[derive(Debug)]
pub(crate) enum ReadError {
    Io(io::Error),
    /// The file can be opened.
    Refused(FileProblem),
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        ReadError::Io(error)
    }
}

impl From<FileProblem> for ReadError {
    fn from(problem: FileProblem) -> Self {
        ReadError::Refused(problem)
    }
}

impl From<ReadError> for FileProblem {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Io(error) => (format!("cannot be read: {error}"), "name a file that this user can read"),
            ReadError::Refused(problem) => problem,
        }
    }
}

/// Returns the content of a regular file of at most `limit` bytes, and what the system says about it.
///
/// # Errors
/// If it cannot be read, is not regular, or is larger.
pub(crate) fn read(path: &Path, limit: u64) -> Result<(Vec<u8>, Metadata), ReadError> {
    // Check the kind before opening, because opening changes some devices.
    check_kind(&fs::metadata(path)?)?;
    let file = open(path)?;
    // Check it again, because the file may have been replaced.
    let found = file.metadata()?;
    check_kind(&found)?;
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err((format!("has more than {} KiB", limit >> 10), "name the right file").into());
    }
    Ok((bytes, found))
}

/// Returns the mode of a file that has one of these bits. Other systems than Unix have no modes.
pub(crate) fn mode_with(bits: u32, found: &Metadata) -> Option<u32> {
    #[cfg(unix)]
    {
        let mode = std::os::unix::fs::MetadataExt::mode(found);
        (mode & bits != 0).then_some(mode & 0o7777)
    }
    #[cfg(not(unix))]
    {
        let _ = (bits, found);
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

fn check_kind(found: &Metadata) -> Result<(), FileProblem> {
    if found.is_file() {
        return Ok(());
    }
    Err((format!("is {}", kind_of(found)), "name a regular file, which can be read again"))
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
