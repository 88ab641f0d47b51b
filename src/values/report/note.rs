//! A failure of the journal that did not change the outcome.

use std::fmt;

use crate::values::cause::JournalError;

/// A failure of the journal that did not change the outcome of the operation. `Display` writes the failed call and its
/// consequence.
///
/// ```
/// use cluster_client::{JournalError, Note};
///
/// let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
/// let note = Note::SettledEntryStays(JournalError::new("remove", full).with_path("payments.intent"));
/// assert_eq!(note.to_string(), "cannot remove payments.intent; the settled journal entry stays");
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Note {
    /// The hosts that are left could not be recorded. The entry still names every host.
    OlderEntryStays(JournalError),
    /// The entry of a settled operation could not be removed. A recovery settles it again.
    SettledEntryStays(JournalError),
    /// An entry could not be written, and what was written of it could not be removed.
    PartialEntryStays(JournalError),
}

impl Note {
    /// The failed call of the journal.
    pub fn error(&self) -> &JournalError {
        match self {
            Note::OlderEntryStays(error) | Note::SettledEntryStays(error) | Note::PartialEntryStays(error) => error,
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let consequence = match self {
            Note::OlderEntryStays(_) => "the older journal entry stays",
            Note::SettledEntryStays(_) => "the settled journal entry stays",
            Note::PartialEntryStays(_) => "a part of the journal entry may be left",
        };
        write!(f, "{}; {consequence}", self.error())
    }
}
