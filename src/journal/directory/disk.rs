//! The few calls to the file system that the directory store is made of. They are a trait so that a test
//! can let each of them fail, before or after its effect, and can take away what was never synced.

use std::fs::{DirBuilder, File, Metadata, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// One call each; no call is retried, ordered or combined here.
pub(super) trait Disk: Send + Sync {
    /// Makes a directory and those above it, for its owner alone.
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// Opens a directory, to sync it and to compare it later.
    fn open_dir(&self, path: &Path) -> io::Result<File>;

    /// Whether `path`, with symbolic links followed, leads to the open directory `dir`.
    fn leads_to(&self, path: &Path, dir: &File) -> io::Result<bool>;

    /// Makes the names in a directory durable.
    fn sync_dir(&self, dir: &File) -> io::Result<()>;

    /// Makes a new file, for its owner alone; it is an error where the name is taken.
    fn create(&self, path: &Path) -> io::Result<File>;

    /// Writes all of `text` at the place where the file stands.
    fn write(&self, file: &mut File, text: &[u8]) -> io::Result<()>;

    /// Makes a file's content durable.
    fn sync(&self, file: &File) -> io::Result<()>;

    /// Gives a file a second name; it is an error where that is taken.
    fn link(&self, file: &Path, name: &Path) -> io::Result<()>;

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Opens a file to read it, without following a symbolic link. Never blocks: opening a pipe would.
    fn open(&self, path: &Path) -> io::Result<File>;

    /// The content from the current position; an error if it is longer than `limit` bytes.
    fn read(&self, file: &mut File, limit: u64) -> io::Result<Vec<u8>>;

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>>;

    /// Opens a file to lock it, without following a symbolic link, and makes it if it is missing, with mode 0600.
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

    /// Without this flag (`FILE_FLAG_BACKUP_SEMANTICS`) Windows opens no directory.
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

    /// Windows has no such call: NTFS keeps the order of its names in a journal of its own.
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
        as_it_is(OpenOptions::new().read(true)).open(path)
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
        as_it_is(for_owner_alone(OpenOptions::new().read(true).write(true).create(true).truncate(false))).open(path)
    }

    fn reopen_lock(&self, path: &Path) -> io::Result<File> {
        as_it_is(OpenOptions::new().read(true).write(true)).open(path)
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
fn as_it_is(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(options, libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY);
    // FILE_FLAG_OPEN_REPARSE_POINT
    #[cfg(windows)]
    std::os::windows::fs::OpenOptionsExt::custom_flags(options, 0x0020_0000);
    options
}

/// The mode keeps others from reading which groups are worked on, and where.
fn for_owner_alone(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options
}
