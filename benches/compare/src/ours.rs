//! Our client, without preflight as the peers work (POST and GET), and with preflight as by default.

use std::path::PathBuf;

use cluster_client::{ClientBuilder, ClusterClient, Engine, OperationOptions};

use crate::pace::Ids;
use crate::wire;
use crate::{Client, Failure, IN_FLIGHT, REQUEST_TIMEOUT};

/// Without preflight, with the requests of every peer.
pub struct Ours(ClusterClient);

impl Client for Ours {
    fn new(hosts: &[String]) -> Result<Self, Failure> {
        build(hosts).map(Self)
    }

    fn create(&mut self, id: &str) -> Result<(), Failure> {
        self.0.with(OperationOptions::new().preflight(false)).create_group(id)?;
        Ok(())
    }

    fn create_all(&mut self, ids: Ids) -> Result<(), Failure> {
        for done in self.0.with(OperationOptions::new().preflight(false)).create_groups(ids) {
            done.result?;
        }
        Ok(())
    }
}

/// [`Ours`] with all connections on one thread.
pub struct OursMultiplexed(ClusterClient);

impl Client for OursMultiplexed {
    fn new(hosts: &[String]) -> Result<Self, Failure> {
        Ok(Self(settings(hosts).engine(Engine::Multiplexed).build()?))
    }

    fn create(&mut self, id: &str) -> Result<(), Failure> {
        self.0.with(OperationOptions::new().preflight(false)).create_group(id)?;
        Ok(())
    }

    fn create_all(&mut self, ids: Ids) -> Result<(), Failure> {
        for done in self.0.with(OperationOptions::new().preflight(false)).create_groups(ids) {
            done.result?;
        }
        Ok(())
    }
}

/// The default, with the preflight as a third request per host.
pub struct OursDefault(ClusterClient);

impl Client for OursDefault {
    fn new(hosts: &[String]) -> Result<Self, Failure> {
        build(hosts).map(Self)
    }

    fn create(&mut self, id: &str) -> Result<(), Failure> {
        self.0.create_group(id)?;
        Ok(())
    }

    fn create_all(&mut self, ids: Ids) -> Result<(), Failure> {
        for done in self.0.create_groups(ids) {
            done.result?;
        }
        Ok(())
    }
}

/// [`Ours`] with a journal on the disk of this program. It shows the cost of the journal, which no peer has.
pub struct OursJournal {
    client: ClusterClient,
    directory: PathBuf,
}

/// [`OursMultiplexed`] with a journal on the disk.
pub struct OursMultiplexedJournal(OursJournal);

impl Client for OursMultiplexedJournal {
    fn new(hosts: &[String]) -> Result<Self, Failure> {
        OursJournal::with(settings(hosts).engine(Engine::Multiplexed)).map(Self)
    }

    fn create(&mut self, id: &str) -> Result<(), Failure> {
        self.0.create(id)
    }

    fn create_all(&mut self, ids: Ids) -> Result<(), Failure> {
        self.0.create_all(ids)
    }
}

impl OursJournal {
    fn with(settings: ClientBuilder) -> Result<Self, Failure> {
        let directory = std::env::current_exe()?.with_file_name(format!("journal-{}", std::process::id()));
        let client = settings.journal(&directory).build()?;
        Ok(Self { client, directory })
    }
}

impl Client for OursJournal {
    fn new(hosts: &[String]) -> Result<Self, Failure> {
        Self::with(settings(hosts))
    }

    fn create(&mut self, id: &str) -> Result<(), Failure> {
        self.client.with(OperationOptions::new().preflight(false)).create_group(id)?;
        Ok(())
    }

    fn create_all(&mut self, ids: Ids) -> Result<(), Failure> {
        for done in self.client.with(OperationOptions::new().preflight(false)).create_groups(ids) {
            done.result?;
        }
        Ok(())
    }
}

impl Drop for OursJournal {
    fn drop(&mut self) {
        // Fails unless it is empty. Leftover intents are kept for a person to read.
        let _ = std::fs::remove_dir(&self.directory);
    }
}

fn build(hosts: &[String]) -> Result<ClusterClient, Failure> {
    Ok(settings(hosts).build()?)
}

fn settings(hosts: &[String]) -> ClientBuilder {
    let urls = hosts.iter().map(|host| format!("{}://{host}", wire::SCHEME));
    let builder = ClusterClient::builder();
    #[cfg(feature = "tls")]
    let builder = builder.tls(cluster_client::TlsSettings::new().ca_pem(wire::AUTHORITY));
    builder.hosts(urls).request_timeout(REQUEST_TIMEOUT).in_flight(IN_FLIGHT)
}
