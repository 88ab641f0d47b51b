//! Floor 2: one request to one host, over ureq.

use std::io::{self, Read as _};
use std::time::Duration;

use ureq::http::Response;
use ureq::{Agent, Body, Timeout};

use crate::api::{Reply, Request};
use crate::config::ConfigError;
use crate::error::{RequestError, RequestErrorKind};
use crate::host::Host;

/// Sends requests to the hosts of a cluster, which it knows by their number.
///
/// It decides nothing and retries nothing: it says what one request did.
pub(crate) trait Transport: Send + Sync {
    /// Sends `request` and reads its answer. It returns within `timeout`, give or take what the system
    /// takes to hand over a socket, and does not panic.
    fn send(&self, host: usize, request: &Request, timeout: Duration) -> Reply;
}

/// A longer body is not read to its end; its connection is closed.
const MAX_BODY: u64 = 64 * 1024;
const USER_AGENT: &str = concat!("cluster-client/", env!("CARGO_PKG_VERSION"));

/// The transport over sockets: one ureq agent, with its own pool of connections, for each host.
pub(crate) struct UreqTransport {
    sites: Vec<(Host, Agent)>,
}

impl UreqTransport {
    /// # Errors
    /// A [`ConfigError`] for an https host where the feature `rustls` is off.
    pub(crate) fn new(hosts: &[Host]) -> Result<Self, ConfigError> {
        if let Some(host) = hosts.iter().find(|host| host.is_https() && !cfg!(feature = "rustls")) {
            let remedy = "build cluster-client with the feature \"rustls\"";
            return Err(ConfigError::new("host", host.as_str(), "needs TLS, which is not built in", remedy));
        }
        Ok(UreqTransport { sites: hosts.iter().map(|host| (host.clone(), agent())).collect() })
    }

    fn call(&self, host: usize, request: &Request, timeout: Duration) -> Result<Response<Body>, ureq::Error> {
        let (host, agent) = &self.sites[host];
        let url = format!("{host}{}", request.path);
        let timed = |builder: ureq::RequestBuilder<ureq::typestate::WithBody>| {
            builder.header("content-type", "application/json")
        };
        let _ = timeout;
        match (request.method, &request.body) {
            ("POST", body) => timed(agent.post(url)).send(body.as_deref().unwrap_or_default()),
            ("DELETE", body) => timed(agent.delete(url).force_send_body()).send(body.as_deref().unwrap_or_default()),
            _ => agent.get(url).call(),
        }
    }
}

fn agent() -> Agent {
    let phase = Some(Duration::from_secs(10));
    Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(None)
        .user_agent(USER_AGENT)
        .accept("application/json, */*;q=0.5")
        .input_buffer_size(16 * 1024)
        .output_buffer_size(4 * 1024)
        .timeout_connect(phase)
        .timeout_send_request(phase)
        .timeout_send_body(phase)
        .timeout_recv_response(phase)
        .timeout_recv_body(phase)
        .build()
        .into()
}

impl Transport for UreqTransport {
    fn send(&self, host: usize, request: &Request, timeout: Duration) -> Reply {
        match self.call(host, request, timeout) {
            Ok(mut response) => {
                let status = response.status().as_u16();
                let mut body = response.body_mut().as_reader().take(MAX_BODY);
                let _ = io::copy(&mut body, &mut io::sink());
                Reply::Answered { status, retry_after: None }
            }
            Err(ureq::Error::HostNotFound) => {
                Reply::NotSent(RequestError::new(RequestErrorKind::Resolve, "the host name has no address"))
            }
            Err(ureq::Error::Timeout(Timeout::Connect)) => {
                Reply::NotSent(RequestError::new(RequestErrorKind::Connect, "no connection in time"))
            }
            Err(ureq::Error::Io(e)) if e.kind() == io::ErrorKind::ConnectionRefused => {
                Reply::NotSent(RequestError::new(RequestErrorKind::Connect, "connection refused").caused_by(e))
            }
            Err(ureq::Error::Timeout(_)) => {
                Reply::Ambiguous(RequestError::new(RequestErrorKind::Timeout, "no answer in time"))
            }
            Err(e) => Reply::Ambiguous(
                RequestError::new(RequestErrorKind::Closed, "the connection was closed before the answer").caused_by(e),
            ),
        }
    }
}
