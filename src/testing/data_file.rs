//! A node's groups in a file, so that they outlive the node.
//!
//! Each change is one line, `+id` or `-id`, with the id percent-encoded. A line is written before the request is
//! answered, so it survives the end of the process. The file is not fsynced, so a power failure may lose the last
//! changes. An open rewrites a file with superfluous lines, which bounds its size.

use std::{
    collections::BTreeSet,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

/// The characters that would break a line, and the escape character.
const ESCAPED: &AsciiSet = &CONTROLS.add(b'%');

#[derive(Debug)]
pub(super) struct DataFile {
    path: PathBuf,
    file: File,
    length: u64,
}

impl DataFile {
    /// Opens or creates the file. While it is open no other node can open it.
    pub(super) fn open(path: &Path) -> io::Result<(Self, BTreeSet<String>)> {
        Self::open_locked(path)
            .map_err(|error| io::Error::new(error.kind(), format!("data file {}: {error}", path.display())))
    }

    fn open_locked(path: &Path) -> io::Result<(Self, BTreeSet<String>)> {
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        lock(&file)?;
        let mut content = Vec::new();
        file.read_to_end(&mut content)?;
        let (whole, torn) = match content.iter().rposition(|byte| *byte == b'\n') {
            Some(last) => content.split_at(last + 1),
            None => content.split_at(0),
        };
        let (groups, lines) = replay(whole)?;
        match torn.first() {
            None => {}
            Some(b'+' | b'-') => {
                log::warn!("data file {}: the last line is torn, its {} bytes are dropped", path.display(), torn.len());
            }
            // It is another program's file, which must not be rewritten.
            Some(_) => return Err(malformed(lines + 1)),
        }
        let mut length = content.len() as u64;
        if lines != groups.len() || !torn.is_empty() {
            (file, length) = rewrite(path, &groups)?;
        }
        Ok((Self { path: path.to_owned(), file, length }, groups))
    }

    /// Records that `group` was added or removed. A failure leaves the file unchanged.
    pub(super) fn record(&mut self, added: bool, group: &str) -> io::Result<()> {
        let line = line(added, group);
        match self.file.write_all(line.as_bytes()) {
            Ok(()) => {
                self.length += line.len() as u64;
                Ok(())
            }
            Err(error) => {
                log::error!("data file {}: {error}", self.path.display());
                // Half a line would make the next line invalid.
                self.file.set_len(self.length)?;
                Err(error)
            }
        }
    }
}

fn line(added: bool, group: &str) -> String {
    let sign = if added { '+' } else { '-' };
    format!("{sign}{}\n", utf8_percent_encode(group, ESCAPED))
}

fn lock(file: &File) -> io::Result<()> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(io::Error::new(io::ErrorKind::ResourceBusy, "used by another node")),
        // Some file systems have no locks, so two nodes are not detected there.
        Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => Ok(()),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// The groups after all changes in `content`, and the number of its lines.
fn replay(content: &[u8]) -> io::Result<(BTreeSet<String>, usize)> {
    let mut groups = BTreeSet::new();
    let mut lines = 0;
    for line in content.split_inclusive(|byte| *byte == b'\n') {
        lines += 1;
        let (sign, id) = line[..line.len() - 1].split_at_checked(1).unwrap_or_default();
        let id = std::str::from_utf8(id).ok().filter(|id| !id.is_empty());
        let id = id.and_then(|id| percent_decode_str(id).decode_utf8().ok());
        match (sign, id) {
            (b"+", Some(id)) => drop(groups.insert(id.into_owned())),
            (b"-", Some(id)) => drop(groups.remove(id.as_ref())),
            _ => return Err(malformed(lines)),
        }
    }
    Ok((groups, lines))
}

fn malformed(line: usize) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("line {line} is neither +id nor -id"))
}

/// Replaces the file by a new one with one line per group. The old file stays complete until the rename.
fn rewrite(path: &Path, groups: &BTreeSet<String>) -> io::Result<(File, u64)> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let fresh = PathBuf::from(name);
    let mut file = OpenOptions::new().append(true).create(true).open(&fresh)?;
    lock(&file)?;
    file.set_len(0)?;
    let content: String = groups.iter().map(|group| line(true, group)).collect();
    file.write_all(content.as_bytes())?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    Ok((file, content.len() as u64))
}
