//! Floor 2: one request to one host, over ureq.

use std::time::Duration;

use crate::api::{Reply, Request};

/// Sends requests to the hosts of a cluster, which it knows by their number.
///
/// It decides nothing and retries nothing: it says what one request did.
pub(crate) trait Transport: Send + Sync {
    /// Sends `request` and reads its answer. It returns within `timeout`, give or take what the system
    /// takes to hand over a socket, and does not panic.
    fn send(&self, host: usize, request: &Request, timeout: Duration) -> Reply;
}

pub(crate) struct UreqTransport(Vec<(crate::Host, ureq::Agent)>);
impl UreqTransport {
    pub(crate) fn new(hosts: &[crate::Host]) -> Result<Self, crate::ConfigError> {
        Ok(UreqTransport(
            hosts
                .iter()
                .map(|h| {
                    let c = ureq::Agent::config_builder()
                        .http_status_as_error(false)
                        .max_redirects(0)
                        .proxy(None)
                        .input_buffer_size(16384)
                        .output_buffer_size(4096)
                        .max_idle_connections(64)
                        .max_idle_connections_per_host(64)
                        .timeout_recv_response(Some(Duration::from_secs(10)))
                        .build();
                    (h.clone(), c.into())
                })
                .collect(),
        ))
    }
}
impl Transport for UreqTransport {
    fn send(&self, host: usize, r: &Request, _: Duration) -> Reply {
        let (h, a) = &self.0[host];
        let url = format!("{h}{}", r.path);
        let res = match (r.method, &r.body) {
            ("POST", Some(b)) => a.post(&url).content_type("application/json").send(b.as_str()),
            ("DELETE", Some(b)) => a.delete(&url).force_send_body().content_type("application/json").send(b.as_str()),
            _ => a.get(&url).call(),
        };
        match res {
            Ok(mut r) => {
                let _ = r.body_mut().read_to_vec();
                Reply::Answered { status: r.status().as_u16(), retry_after: None }
            }
            Err(e) => Reply::Ambiguous(crate::RequestError::new(crate::RequestErrorKind::Closed, e.to_string())),
        }
    }
}
