//! Our own client, once as the peers work (POST and GET) and once as it works by default (with the preflight).

use cluster_client::ClusterClient;

use crate::pace::Ids;
use crate::{Client, Failure, IN_FLIGHT, REQUEST_TIMEOUT};

/// Preflight off: the same requests as every peer.
pub struct Ours(ClusterClient);

impl Client for Ours {
    fn new(hosts: &[String]) -> Result<Self, Failure> {
        build(hosts).map(Self)
    }

    fn create(&mut self, id: &str) -> Result<(), Failure> {
        self.0.call().preflight(false).create_group(id)?;
        Ok(())
    }

    fn create_all(&mut self, ids: Ids) -> Result<(), Failure> {
        for done in self.0.call().preflight(false).create_groups(ids) {
            done.result?;
        }
        Ok(())
    }
}

/// As it comes: a third request per host, the preflight.
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

/// No journal: no peer writes one.
fn build(hosts: &[String]) -> Result<ClusterClient, Failure> {
    let urls = hosts.iter().map(|host| format!("http://{host}"));
    Ok(ClusterClient::builder().hosts(urls).request_timeout(REQUEST_TIMEOUT).in_flight(IN_FLIGHT).build()?)
}
