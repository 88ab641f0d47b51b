//! The calls of the directory journal to the file system. They form a trait, so that a test can make each fail, before
//! or after its effect, and can discard changes that were not synced.

use std::fs::{DirBuilder, File, Metadata, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// Each method is one call. No call is retried, ordered or combined here.
pub(super) trait Disk: Send + Sync {
    /// Creates a directory and its missing parents, for their owner alone.
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// Opens a directory, to sync it and to compare it later.
    fn open_dir(&self, path: &Path) -> io::Result<File>;

    /// Whether `path`, with symbolic links followed, leads to the open directory `dir`.
    fn leads_to(&self, path: &Path, dir: &File) -> io::Result<bool>;

    /// Makes the names in a directory durable.
    fn sync_dir(&self, dir: &File) -> io::Result<()>;

    /// Creates a file for its owner alone. Fails if the name exists.
    fn create(&self, path: &Path) -> io::Result<File>;

    /// Writes all of `text` at the current position.
    fn write(&self, file: &mut File, text: &[u8]) -> io::Result<()>;

    /// Makes a file's content durable.
    fn sync(&self, file: &File) -> io::Result<()>;

    /// Adds a hard link to a file. Fails if the name exists.
    fn link(&self, file: &Path, name: &Path) -> io::Result<()>;

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Opens a file to read it, without following a symbolic link. Never blocks: opening a pipe would.
    fn open(&self, path: &Path) -> io::Result<File>;

    /// The content from the current position; an error if it is longer than `limit` bytes.
    fn read(&self, file: &mut File, limit: u64) -> io::Result<Vec<u8>>;

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>>;

    /// Opens a file to lock it, without following a symbolic link. Creates a missing file with mode 0600.
    fn open_lock(&self, path: &Path) -> io::Result<File>;

    /// Opens an existing file to lock it, without following a symbolic link.
    fn reopen_lock(&self, path: &Path) -> io::Result<File>;

    fn try_lock(&self, file: &File) -> Result<(), TryLockError>;

    /// Whether `path` still names the open file `file`.
    fn names(&self, path: &Path, file: &File) -> io::Result<bool>;
}

/// The disk of the operating system.
pub(super) struct RealDisk;

impl Disk for RealDisk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut builder = DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.recursive(true).create(path)
    }

    #[cfg(unix)]
    fn open_dir(&self, path: &Path) -> io::Result<File> {
        use std::os::unix::fs::OpenOptionsExt as _;
        OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY | libc::O_NONBLOCK).open(path)
    }

    /// Windows opens a directory only with this flag, `FILE_FLAG_BACKUP_SEMANTICS`.
    #[cfg(windows)]
    fn open_dir(&self, path: &Path) -> io::Result<File> {
        std::os::windows::fs::OpenOptionsExt::custom_flags(OpenOptions::new().read(true), 0x0200_0000).open(path)
    }

    fn leads_to(&self, path: &Path, dir: &File) -> io::Result<bool> {
        is_same(std::fs::metadata(path), dir)
    }

    #[cfg(unix)]
    fn sync_dir(&self, dir: &File) -> io::Result<()> {
        dir.sync_all()
    }

    /// Windows has no such call: NTFS journals changes of names.
    #[cfg(windows)]
    fn sync_dir(&self, _: &File) -> io::Result<()> {
        Ok(())
    }

    fn create(&self, path: &Path) -> io::Result<File> {
        for_owner_alone(OpenOptions::new().write(true).create_new(true)).open(path)
    }

    fn write(&self, file: &mut File, text: &[u8]) -> io::Result<()> {
        file.write_all(text)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_all()
    }

    fn link(&self, file: &Path, name: &Path) -> io::Result<()> {
        std::fs::hard_link(file, name)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn open(&self, path: &Path) -> io::Result<File> {
        not_following_links(OpenOptions::new().read(true)).open(path)
    }

    fn read(&self, file: &mut File, limit: u64) -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        file.take(limit + 1).read_to_end(&mut text)?;
        if text.len() as u64 > limit {
            let problem = format!("it has more than {limit} bytes: {}", crate::values::intent::BY_HAND);
            return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
        }
        Ok(text)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        std::fs::read_dir(path)?.map(|entry| entry.map(|entry| entry.path())).collect()
    }

    fn open_lock(&self, path: &Path) -> io::Result<File> {
        not_following_links(for_owner_alone(OpenOptions::new().read(true).write(true).create(true).truncate(false)))
            .open(path)
    }

    /// Opens it to read if the file system is read-only. A lock needs no more there, except on NFS.
    fn reopen_lock(&self, path: &Path) -> io::Result<File> {
        let open = |writes| not_following_links(OpenOptions::new().read(true).write(writes)).open(path);
        open(true)
            .or_else(|error| if error.kind() == io::ErrorKind::ReadOnlyFilesystem { open(false) } else { Err(error) })
    }

    fn try_lock(&self, file: &File) -> Result<(), TryLockError> {
        file.try_lock()
    }

    fn names(&self, path: &Path, file: &File) -> io::Result<bool> {
        is_same(std::fs::symlink_metadata(path), file)
    }
}

/// Whether the metadata found by name is that of the open file.
#[cfg(unix)]
fn is_same(found: io::Result<Metadata>, open: &File) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt as _;
    let (found, open) = match found {
        Ok(found) => (found, open.metadata()?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    Ok((found.dev(), found.ino()) == (open.dev(), open.ino()))
}

/// Windows keeps the name of an open file until it is closed.
#[cfg(windows)]
fn is_same(_: io::Result<Metadata>, _: &File) -> io::Result<bool> {
    Ok(true)
}

/// Makes an open fail on a symbolic link in the last component, and return at once on a pipe.
fn not_following_links(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(options, libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY);
    // FILE_FLAG_OPEN_REPARSE_POINT
    #[cfg(windows)]
    std::os::windows::fs::OpenOptionsExt::custom_flags(options, 0x0020_0000);
    options
}

/// Sets mode 0600, because group ids and hosts are not for other users.
fn for_owner_alone(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options
}
