//! Our client in its variants. Without preflight it sends the requests of every peer, POST and GET.

use std::path::PathBuf;
use std::sync::Arc;

use cluster_client::{ClusterClient, Engine, EtcdJournal, OperationOptions};

use crate::pace::Ids;
use crate::wire;
use crate::{Client, Failure, IN_FLIGHT, REQUEST_TIMEOUT};

/// Without preflight, by the engine of threads.
pub type Ours = Variant<false, false, NONE>;
/// [`Ours`] with all connections on one thread.
pub type OursMultiplexed = Variant<true, false, NONE>;
/// The default, with the preflight as a third request per host.
pub type OursDefault = Variant<false, true, NONE>;
/// [`Ours`] with a journal on the disk of this program. It shows the cost of the journal, which no peer has.
pub type OursJournal = Variant<false, false, DISK>;
/// [`OursMultiplexed`] with a journal on the disk.
pub type OursMultiplexedJournal = Variant<true, false, DISK>;
/// [`Ours`] with a journal in the etcd that the runner has started.
pub type OursEtcd = Variant<false, false, ETCD>;
/// [`OursMultiplexed`] with a journal in etcd.
pub type OursMultiplexedEtcd = Variant<true, false, ETCD>;

/// The environment variable with the URL of the journal in etcd.
pub const ETCD_VARIABLE: &str = "COMPARE_ETCD";

/// No journal.
pub const NONE: u8 = 0;
/// A journal in a directory.
pub const DISK: u8 = 1;
/// A journal in etcd.
pub const ETCD: u8 = 2;

/// Our client by an engine, with or without preflight and journal.
pub struct Variant<const MULTIPLEXED: bool, const PREFLIGHT: bool, const JOURNAL: u8> {
    client: ClusterClient,
    journal: Option<PathBuf>,
}

impl<const MULTIPLEXED: bool, const PREFLIGHT: bool, const JOURNAL: u8> Client
    for Variant<MULTIPLEXED, PREFLIGHT, JOURNAL>
{
    fn new(hosts: &[String]) -> Result<Self, Failure> {
        let urls = hosts.iter().map(|host| format!("{}://{host}", wire::SCHEME));
        let mut builder = ClusterClient::builder().hosts(urls).request_timeout(REQUEST_TIMEOUT).in_flight(IN_FLIGHT);
        #[cfg(feature = "tls")]
        {
            builder = builder.tls(cluster_client::TlsSettings::new().ca_pem(wire::AUTHORITY));
        }
        if MULTIPLEXED {
            builder = builder.engine(Engine::Multiplexed);
        }
        let journal = if JOURNAL == DISK { Some(journal_directory()?) } else { None };
        if let Some(directory) = &journal {
            builder = builder.journal(directory);
        }
        if JOURNAL == ETCD {
            let journal = EtcdJournal::builder(std::env::var(ETCD_VARIABLE)?).open()?;
            builder = builder.custom_journal(Arc::new(journal));
        }
        let client = builder.build()?.with(OperationOptions::new().preflight(PREFLIGHT));
        Ok(Self { client, journal })
    }

    fn create(&mut self, id: &str) -> Result<(), Failure> {
        self.client.create_group(id)?;
        Ok(())
    }

    fn create_all(&mut self, ids: Ids) -> Result<(), Failure> {
        for done in self.client.create_groups(ids) {
            done.result?;
        }
        Ok(())
    }
}

impl<const MULTIPLEXED: bool, const PREFLIGHT: bool, const JOURNAL: u8> Drop
    for Variant<MULTIPLEXED, PREFLIGHT, JOURNAL>
{
    fn drop(&mut self) {
        // Fails unless it is empty. Leftover intents are kept for a person to read.
        let _ = self.journal.as_ref().map(std::fs::remove_dir);
    }
}

/// A directory of this process, beside its program.
fn journal_directory() -> Result<PathBuf, Failure> {
    Ok(std::env::current_exe()?.with_file_name(format!("journal-{}", std::process::id())))
}
