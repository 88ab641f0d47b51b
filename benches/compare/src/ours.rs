//! Our own client, once as the peers work (POST and GET) and once as it works by default (with the preflight).

use std::path::PathBuf;

use cluster_client::{OperationOptions, ClientBuilder, ClusterClient, Engine};

use crate::pace::Ids;
use crate::{Client, Failure, IN_FLIGHT, REQUEST_TIMEOUT};

/// Preflight off: the same requests as every peer.
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

/// The default: a third request per host, the preflight.
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

/// [`Ours`] with a journal on the disk of this program. No peer has one: it shows the cost of ours.
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
        // Empty by now, or something is wrong that should stay to be looked at.
        let _ = std::fs::remove_dir(&self.directory);
    }
}

fn build(hosts: &[String]) -> Result<ClusterClient, Failure> {
    Ok(settings(hosts).build()?)
}

fn settings(hosts: &[String]) -> ClientBuilder {
    let urls = hosts.iter().map(|host| format!("http://{host}"));
    ClusterClient::builder().hosts(urls).request_timeout(REQUEST_TIMEOUT).in_flight(IN_FLIGHT)
}
