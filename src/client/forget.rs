//! Floor 3: `forget` drops a lost host from an unfinished operation.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::client::ClusterClient;
use crate::journal::Claim;
use crate::values::cause::JournalError;
use crate::values::config::ConfigError;
use crate::values::error::Error;
use crate::values::group::{GroupId, IntoGroupId};
use crate::values::host::Host;
use crate::values::intent::{ClaimError, Intent, Purpose};
#[cfg(feature = "serde")]
use crate::values::outcome::Outcome;
use crate::values::report::Operation;
#[cfg(feature = "serde")]
use crate::values::serialization::{SCHEMA, object};

impl ClusterClient {
    /// Drops one host from the unfinished operation on a group. Use it for a host that never comes back. Otherwise the
    /// operation could not be settled, and each recovery would ask the host again.
    ///
    /// Nothing is sent, and no host changes. It stays unknown whether that host has the group. The host need not be one
    /// of the hosts of the client. The other hosts of the operation stay in the journal for
    /// [`ClusterClient::recover`].
    ///
    /// # Errors
    /// * [`Error::Config`] if the group has no unfinished operation, or the operation does not name the host.
    /// * [`Error::Busy`] while another operation works on the group.
    /// * [`Error::Journal`] if the journal could not be read or written. It is then unknown whether the host was
    ///   dropped.
    ///
    /// ```
    /// use cluster_client::ClusterClient;
    ///
    /// let directory = tempfile::tempdir()?;
    /// let builder = ClusterClient::builder().hosts(["http://node1:8000"]);
    /// let client = builder.journal(directory.path().join("journal")).build()?;
    ///
    /// let refused = client.forget("payments", "http://node3:8000").unwrap_err();
    /// assert!(refused.to_string().contains("has no unfinished operation"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn forget(&self, group: impl IntoGroupId, host: impl AsRef<str>) -> Result<Forgotten, Error> {
        let group = self.inner.api.named(group)?;
        let host = Host::parse(host.as_ref())?;
        let Some(journal) = self.journal() else {
            let remedy = "give the client the journal that has it";
            let problem = "has no unfinished operation here, because the client keeps no journal";
            return Err(ConfigError::new("group", group.as_str(), problem, remedy).into());
        };
        // The journal may be a user's own type, and no panic crosses the API.
        catch_unwind(AssertUnwindSafe(|| match journal.claim(&group) {
            Ok(claim) => forget(claim, &group, host),
            Err(ClaimError::Busy(holder)) => Err(Error::busy(&group, Operation::Forget, holder)),
            Err(ClaimError::Failed(error)) => Err(Error::journal(&group, Operation::Forget, error)),
        }))
        .unwrap_or_else(|_| Err(Error::journal(&group, Operation::Forget, JournalError::panicked())))
    }
}

/// Result of [`ClusterClient::forget`]. Its `Display` is a text for a person.
///
/// ```
/// use cluster_client::{Forgotten, GroupId, Host, Purpose};
///
/// let lost = Host::parse("http://node3:8000")?;
/// let forgotten = Forgotten::new(GroupId::parse("payments")?, Purpose::Delete, lost, Vec::new());
/// assert!(forgotten.to_string().starts_with("http://node3:8000 is forgotten"));
/// # Ok::<(), cluster_client::ConfigError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "the state of the group on that host is now unknown for good"]
#[non_exhaustive]
pub struct Forgotten {
    /// The group. Its state on the host stays unknown.
    pub group: GroupId,
    /// The purpose of the unfinished operation.
    pub purpose: Purpose,
    /// The host that was dropped.
    pub host: Host,
    /// The hosts that the operation still has to settle. If there are none, the journal no longer has the operation.
    pub remaining: Vec<Host>,
}

impl Forgotten {
    /// Creates a result, for your own tests.
    pub fn new(group: GroupId, purpose: Purpose, host: Host, remaining: Vec<Host>) -> Self {
        Forgotten { group, purpose, host, remaining }
    }
}

impl fmt::Display for Forgotten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Forgotten { group, purpose, host, remaining } = self;
        write!(f, "{host} is forgotten: whether it has {group} is now unknown for good. ")?;
        match remaining.len() {
            0 => write!(f, "The unfinished {purpose} of {group} is gone from the journal."),
            _ => write!(f, "The unfinished {purpose} of {group} still has to settle {}.", names(remaining)),
        }
    }
}

/// The result for programs, as the command's `journal forget` prints it.
#[cfg(feature = "serde")]
impl serde_core::Serialize for Forgotten {
    fn serialize<S: serde_core::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde_core::ser::SerializeStruct as _;
        object!(serializer, {
            "schema": SCHEMA,
            "kind": "forgotten",
            "group": self.group,
            "operation": Operation::Forget,
            "outcome": Outcome::Forgotten,
            "exit": 0,
            "purpose": self.purpose,
            "host": self.host,
            "remaining": self.remaining,
        })
    }
}

fn forget(mut claim: Box<dyn Claim>, group: &GroupId, host: Host) -> Result<Forgotten, Error> {
    let Some(mut intent) = claim.inherited().cloned() else {
        let remedy = "look at the journal for what is unfinished";
        return Err(ConfigError::new("group", group.as_str(), "has no unfinished operation", remedy).into());
    };
    let Some(place) = intent.hosts.iter().position(|named| *named == host) else {
        return Err(not_named(&intent, &host).into());
    };
    intent.hosts.remove(place);
    intent.authorized.remove(&host);
    let changed = if intent.hosts.is_empty() { claim.erase() } else { claim.record(&intent) };
    changed.map_err(|error| Error::journal(group, Operation::Forget, error))?;
    log::warn!(target: "cluster_client", group = group.as_str(), host = host.as_str(); "{host} is forgotten for {group}");
    Ok(Forgotten { group: group.clone(), purpose: intent.purpose, host, remaining: intent.hosts })
}

fn not_named(intent: &Intent, host: &Host) -> ConfigError {
    let problem = format!("is not in the unfinished {} of {}", intent.purpose, intent.group);
    ConfigError::new("host", host.as_str(), problem, format!("name one of {}", names(&intent.hosts)))
}

/// Lists the hosts. Of many, only the first are listed.
fn names(hosts: &[Host]) -> String {
    const SHOWN: usize = 10;
    let mut names: Vec<String> = hosts.iter().take(SHOWN).map(Host::to_string).collect();
    if hosts.len() > SHOWN {
        names.push(format!("and {} more", hosts.len() - SHOWN));
    }
    names.join(", ")
}

#[cfg(all(test, unix))]
mod tests {
    use std::sync::Arc;

    use tempfile::TempDir;

    use super::*;
    use crate::journal::directory::tests::{group, intent};
    use crate::journal::{DirectoryJournal, Journal, JournalEntry, Unfinished};

    const HOSTS: [&str; 3] = ["http://a", "http://b", "http://c"];

    /// Creates a journal with an unfinished delete of `g` on [`HOSTS`], and a client of other hosts.
    fn bench() -> (TempDir, DirectoryJournal, ClusterClient) {
        let directory = tempfile::tempdir().unwrap();
        let store = DirectoryJournal::open(directory.path().join("journal")).unwrap();
        store.claim(&group("g")).unwrap().record(&intent("g", &HOSTS)).unwrap();
        let client = client(Arc::new(store.clone()));
        (directory, store, client)
    }

    fn client(store: Arc<dyn Journal>) -> ClusterClient {
        ClusterClient::builder().hosts(["http://other"]).custom_journal(store).build().unwrap()
    }

    fn hosts(store: &DirectoryJournal) -> Vec<String> {
        let unfinished = store.unfinished().unwrap();
        unfinished.entries.iter().flat_map(JournalEntry::hosts).map(Host::to_string).collect()
    }

    #[test]
    fn forget_drops_one_host_and_the_last_one_ends_the_operation() {
        let (_directory, store, client) = bench();
        let forgotten = client.forget("g", "HTTP://B:80/").unwrap();
        assert_eq!((forgotten.purpose, forgotten.host.as_str()), (Purpose::Delete, "http://b"));
        assert_eq!(forgotten.remaining.iter().map(Host::as_str).collect::<Vec<_>>(), ["http://a", "http://c"]);
        assert_eq!(hosts(&store), ["http://a", "http://c"]);
        let text = forgotten.to_string();
        assert!(text.contains("http://b is forgotten: whether it has g is now unknown for good"), "{text}");
        assert!(text.contains("The unfinished delete of g still has to settle http://a, http://c."), "{text}");

        let _ = client.forget("g", "http://a").unwrap();
        let last = client.forget("g", "http://c").unwrap();
        assert!(last.remaining.is_empty() && last.to_string().ends_with("is gone from the journal."), "{last}");
        assert!(hosts(&store).is_empty());
    }

    #[test]
    fn forget_changes_only_the_hosts_of_the_intent() {
        let (_directory, store, client) = bench();
        let before = store.unfinished().unwrap().entries.remove(0).intent().clone();
        let _ = client.forget("g", "http://a").unwrap();
        let after = store.unfinished().unwrap().entries.remove(0).intent().clone();
        assert_eq!(Intent { hosts: before.hosts.clone(), ..after }, before);
    }

    #[test]
    fn forget_of_another_host_is_refused_with_the_hosts_of_the_operation() {
        let (_directory, store, client) = bench();
        let refused = client.forget("g", "http://other").unwrap_err();
        assert!(matches!(refused, Error::Config { .. }));
        let text = refused.to_string();
        assert!(
            text.contains("is not in the unfinished delete of g: name one of http://a, http://b, http://c"),
            "{text}"
        );
        assert_eq!(hosts(&store), HOSTS);
        let many: Vec<String> = (0..30).map(|number| format!("http://n{number}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        store.claim(&group("many")).unwrap().record(&intent("many", &many)).unwrap();
        let text = client.forget("many", "http://other").unwrap_err().to_string();
        assert!(text.ends_with("http://n9, and 20 more"), "{text}");
    }

    #[test]
    fn forget_refuses_a_group_without_an_unfinished_operation() {
        let (_directory, store, client) = bench();
        let text = client.forget("h", "http://a").unwrap_err().to_string();
        assert!(text.contains("\"h\"") && text.contains("has no unfinished operation"), "{text}");
        assert!(client.forget("..", "http://a").is_err() && client.forget("g", "a").is_err());
        let without = ClusterClient::new(["http://a"]).unwrap();
        let text = without.forget("g", "http://a").unwrap_err().to_string();
        assert!(text.contains("keeps no journal"), "{text}");
        assert_eq!(hosts(&store), HOSTS);
    }

    #[test]
    fn forget_of_a_claimed_group_is_busy_and_changes_nothing() {
        let (_directory, store, client) = bench();
        let held = store.claim(&group("g")).unwrap();
        assert!(matches!(client.forget("g", "http://a"), Err(Error::Busy { .. })));
        drop(held);
        assert_eq!(hosts(&store), HOSTS);
        assert!(client.forget("g", "http://a").is_ok());
    }

    #[test]
    fn forget_without_the_journal_directory_is_a_journal_error() {
        let (directory, _store, client) = bench();
        std::fs::rename(directory.path().join("journal"), directory.path().join("away")).unwrap();
        assert!(matches!(client.forget("g", "http://a"), Err(Error::Journal { .. })));
    }

    struct Panics;

    impl Journal for Panics {
        fn claim(&self, _: &GroupId) -> Result<Box<dyn Claim>, ClaimError> {
            panic!("as planned")
        }

        fn unfinished(&self) -> Result<Unfinished, JournalError> {
            Ok(Unfinished::default())
        }
    }

    #[test]
    fn forget_turns_a_panic_of_the_journal_into_an_error() {
        assert!(matches!(client(Arc::new(Panics)).forget("g", "http://a"), Err(Error::Journal { .. })));
    }
}
