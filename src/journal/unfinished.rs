//! The content of a journal, as values.

use crate::values::cause::JournalError;
use crate::values::group::GroupId;
use crate::values::host::Host;
use crate::values::intent::{Intent, Purpose, Stamp, UnreadableIntent};
#[cfg(feature = "serde")]
use crate::values::serialization::{SCHEMA, object};

/// The content of a journal.
///
/// ```
/// use cluster_client::{DirectoryJournal, Journal};
///
/// let directory = tempfile::tempdir()?;
/// let unfinished = DirectoryJournal::open(directory.path().join("journal"))?.unfinished()?;
/// for entry in &unfinished.entries {
///     println!("{} is unfinished on {} hosts", entry.group(), entry.hosts().len());
/// }
/// assert_eq!(unfinished.groups().count(), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Unfinished {
    /// One entry for each group with an intent that can be read, sorted by group.
    pub entries: Vec<JournalEntry>,
    /// One error for each unreadable file, with its path. The files are kept.
    pub unreadable: Vec<JournalError>,
}

impl Unfinished {
    /// The groups with an intent that can be read, sorted.
    pub fn groups(&self) -> impl Iterator<Item = &GroupId> {
        self.entries.iter().map(JournalEntry::group)
    }
}

/// One unfinished operation in a journal: its intent, its writer, and the living process that works on it, if any.
///
/// ```
/// use cluster_client::JournalEntry;
///
/// let unreadable = JournalEntry::parse(b"cluster-client").unwrap_err();
/// assert!(unreadable.to_string().contains("first line"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalEntry {
    intent: Intent,
    stamp: Stamp,
    holder: Option<String>,
}

impl JournalEntry {
    /// An entry without a living owner.
    pub fn new(intent: Intent, stamp: Stamp) -> Self {
        JournalEntry { intent, stamp, holder: None }
    }

    /// Reads what [`Intent::to_text`] has written, as [`Intent::parse`] does, and keeps its stamp.
    ///
    /// # Errors
    /// An [`UnreadableIntent`] that names the first problem and its remedy.
    pub fn parse(text: &[u8]) -> Result<Self, UnreadableIntent> {
        let intent = Intent::parse(text)?;
        Ok(JournalEntry::new(intent, Stamp::of_text(&String::from_utf8_lossy(text))))
    }

    /// Sets the living owner that holds the group, in words.
    #[must_use]
    pub fn held_by(mut self, holder: impl Into<String>) -> Self {
        self.holder = Some(holder.into());
        self
    }

    /// The group of the operation.
    pub fn group(&self) -> &GroupId {
        self.intent.group()
    }

    /// The purpose of the operation.
    pub fn purpose(&self) -> Purpose {
        self.intent.purpose()
    }

    /// The hosts that are not settled.
    pub fn hosts(&self) -> &[Host] {
        self.intent.hosts()
    }

    /// The intent itself.
    pub fn intent(&self) -> &Intent {
        &self.intent
    }

    /// The process that wrote the intent, and its machine.
    pub fn writer(&self) -> &str {
        self.stamp.writer()
    }

    /// Start of the operation that wrote the intent: UTC, to the second, as in RFC 3339.
    pub fn started(&self) -> &str {
        self.stamp.started()
    }

    /// The living owner that held the group when the journal was read, in words. `None` if the owner is dead.
    pub fn holder(&self) -> Option<&str> {
        self.holder.as_deref()
    }
}

/// The entry for programs, as the command's `journal list` prints it.
#[cfg(feature = "serde")]
impl serde_core::Serialize for JournalEntry {
    fn serialize<S: serde_core::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde_core::ser::SerializeStruct as _;
        let recovery = match self.purpose() {
            Purpose::Create { was_absent: true } => "roll_back",
            Purpose::Create { was_absent: false } => "check",
            Purpose::Delete | Purpose::Present => "finish",
        };
        object!(serializer, {
            "schema": SCHEMA,
            "kind": "entry",
            "group": self.group(),
            "purpose": self.purpose(),
            "recovery": recovery,
            "api": self.intent().api().to_string(),
            "hosts": self.hosts(),
            "writer": self.writer(),
            "started": self.started(),
            "running": self.holder().is_some(),
            "holder": self.holder(),
        })
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::journal::directory::tests::intent;

    #[test]
    fn parsed_entry_has_intent_writer_and_start() {
        let stamp = Stamp::new(7, Some("admin1"), UNIX_EPOCH + Duration::from_secs(60));
        let written = intent("started: never", &["http://a", "http://b"]);
        let entry = JournalEntry::parse(written.to_text(&stamp).as_bytes()).unwrap();
        assert_eq!(entry, JournalEntry::new(written.clone(), stamp));
        assert_eq!((entry.writer(), entry.started()), ("process 7 on admin1", "1970-01-01T00:01:00Z"));
        assert_eq!((entry.intent(), entry.hosts().len(), entry.holder()), (&written, 2, None));
        assert_eq!(entry.held_by("process 9").holder(), Some("process 9"));
    }

    #[test]
    fn text_that_is_no_intent_is_refused() {
        let stamp = Stamp::new(7, None, UNIX_EPOCH);
        let text = intent("g", &["http://a"]).to_text(&stamp);
        assert!(JournalEntry::parse(&text.as_bytes()[1..]).is_err());
    }
}
