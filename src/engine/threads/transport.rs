//! Floor 2: one request to one host, over ureq.
//!
//! ureq speaks HTTP and TLS. Names, sockets, time and idle connections are ours ([`crate::http`], [`wire`], [`call`],
//! [`idle`]). ureq and rustls call the logger in the middle of a request, and the logger may send another one on the
//! same thread: therefore no lock is held there, and the state of a request is a stack per thread. Deliberately
//! absent: retries for the sake of an outcome, proxies, cookies, authentication, decompression, and any thread
//! beside the look-up of a name.
//!
//! What is bounded, and where:
//!
//! | what | bound | why |
//! | --- | --- | --- |
//! | a call | the `timeout` of `send` | every read, write, connect and look-up asks for the time left |
//! | a head | [`crate::http::MAX_HEAD`] | |
//! | a body | [`MAX_BODY`] and [`DRAIN`] | only its status is used |
//! | idle connections | [`idle`] a host, and [`ConnectionLimit`] in all | |
//! | look-ups of names | [`crate::http::resolver::MAX_LOOKUPS`] threads | |
//!
//! A host that was never asked costs its name; an idle connection keeps no buffers (with TLS: the
//! session, and 20 KiB that ureq holds).

mod call;
mod idle;
mod resolve;
#[cfg(test)]
pub(crate) mod subject;
#[cfg(test)]
#[path = "../suite/tests.rs"]
mod tests;
mod wire;

use std::io::{self, Read as _};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime};

use ureq::config::{AutoHeaderValue, ConfigBuilder};
use ureq::http::{Response, header};
use ureq::typestate::AgentScope;
use ureq::{Agent, Body};

use self::call::Call;
use self::idle::{Idle, Reuse};
use self::wire::{Dial, NoResolver};
use crate::api::{Reply, Request};
use crate::http::limit::ConnectionLimit;
use crate::http::resolver::{Resolver, Target};
use crate::http::{DRAIN, JSON, MAX_BODY, USER_AGENT, errors, headers, no_tls};
use crate::values::cause::{RequestError, RequestErrorKind as Kind};
use crate::values::config::ConfigError;
use crate::values::host::Host;

/// The transport over sockets: one ureq agent, with its own pool of connections, for each host.
pub(crate) struct UreqTransport {
    sites: Vec<Site>,
    maker: Arc<AgentMaker>,
}

struct Site {
    host: Host,
    /// Made with the first request.
    agent: OnceLock<Agent>,
}

impl UreqTransport {
    /// A transport to `hosts`, which are numbered in this order. Nothing is sent or looked up yet.
    ///
    /// # Errors
    /// A [`ConfigError`] for an https host where the feature `rustls` is off.
    pub(crate) fn new(hosts: &[Host]) -> Result<Self, ConfigError> {
        Self::with(hosts, Arc::new(AgentMaker::new()))
    }

    fn with(hosts: &[Host], maker: Arc<AgentMaker>) -> Result<Self, ConfigError> {
        if let Some(host) = hosts.iter().find(|host| host.is_https() && !cfg!(feature = "rustls")) {
            return Err(no_tls(host));
        }
        let site = |host: &Host| Site { host: host.clone(), agent: OnceLock::new() };
        Ok(UreqTransport { sites: hosts.iter().map(site).collect(), maker })
    }

    /// A transport to other hosts that shares the bounds of this one.
    ///
    /// # Errors
    /// A [`ConfigError`] for an https host where the feature `rustls` is off.
    pub(crate) fn beside(&self, hosts: &[Host]) -> Result<Self, ConfigError> {
        Self::with(hosts, Arc::clone(&self.maker))
    }

    /// One request to `url`, a second time only where the first had a connection that was dead, or none
    /// because idle ones held all descriptors.
    fn exchange(&self, site: &Site, request: &Request, url: &str, call: Call) -> Result<Answer, Failure> {
        let first = self.attempt(site, request, url, call);
        let Err(failure) = first else { return first };
        if failure.was_stale(request) {
            let second = self.attempt(site, request, url, call.on_a_fresh_connection());
            return second.map_err(|second| second.after_attempt(&failure));
        }
        if failure.error.kind() == Kind::Exhausted && !failure.after.sent {
            self.shed_idle();
            return self.attempt(site, request, url, call);
        }
        Err(failure)
    }

    fn attempt(&self, site: &Site, request: &Request, url: &str, call: Call) -> Result<Answer, Failure> {
        let agent = site.agent.get_or_init(|| self.maker.agent(&site.host));
        call::begin(call);
        let answer = run(agent, request, url).map_err(describe).and_then(read_answer);
        answer.map_err(|error| Failure { error, after: call::current() })
    }
}

impl UreqTransport {
    /// Sends `request` to a host and reads the answer. Returns within `timeout`, which runs since `begun`, give or
    /// take what the system takes to hand over a socket.
    pub(crate) fn send(&self, begun: Instant, host: usize, request: &Request, timeout: Duration) -> Reply {
        match self.sites.get(host) {
            Some(site) => {
                let _outer = call::enter();
                self.request(site, request, Call::begun(begun, timeout))
            }
            None => Reply::NotSent(errors::no_such_host()),
        }
    }

    /// Closes all idle connections of the client, to free their descriptors. From then on fewer are kept.
    pub(crate) fn shed_idle(&self) {
        self.maker.sockets.keep_fewer();
        let idle: Vec<_> = self.maker.idle().iter().filter_map(Weak::upgrade).collect();
        for idle in idle {
            idle.clear();
        }
    }

    fn request(&self, site: &Site, request: &Request, call: Call) -> Reply {
        let url = format!("{}{}", site.host, request.path);
        let first = match self.exchange(site, request, &url, call) {
            Ok(answer) => answer,
            Err(failure) => return failure.reply(),
        };
        let Some(url) = first.followed(&site.host) else { return first.reply() };
        match self.exchange(site, request, &url, call) {
            Ok(answer) => answer.reply(),
            // The first server did get the request, whatever the way to the second was like.
            Err(failure) => Reply::Ambiguous(failure.error),
        }
    }
}

/// Connection with TLS on top if the host is https.
#[cfg(feature = "rustls")]
type Link = <wire::Tls as ureq::unversioned::transport::Connector<wire::Wire>>::Out;
#[cfg(not(feature = "rustls"))]
type Link = wire::Wire;

/// What all agents share.
struct AgentMaker {
    lookups: Arc<Resolver>,
    sockets: Arc<ConnectionLimit>,
    /// Idle connections of each agent.
    idle: Mutex<Vec<Weak<Idle<Link>>>>,
    #[cfg(feature = "rustls")]
    tls: wire::Tls,
}

impl AgentMaker {
    fn new() -> Self {
        AgentMaker {
            lookups: Arc::default(),
            sockets: Arc::default(),
            idle: Mutex::default(),
            #[cfg(feature = "rustls")]
            tls: wire::Tls::new(ureq::tls::RootCerts::WebPki),
        }
    }

    fn agent(&self, host: &Host) -> Agent {
        let dial = Dial::new(Target::of(host), Arc::clone(&self.lookups), Arc::clone(&self.sockets));
        #[cfg(feature = "rustls")]
        let dial = ureq::unversioned::transport::Connector::chain(dial, self.tls.clone());
        let config = config();
        #[cfg(feature = "rustls")]
        let config = config.tls_config(self.tls.config());
        let idle = Arc::default();
        self.add_idle(&idle);
        Agent::with_parts(config.build(), Reuse::new(dial, idle), NoResolver)
    }

    fn add_idle(&self, idle: &Arc<Idle<Link>>) {
        let mut all = self.idle();
        if all.len() == all.capacity() {
            all.retain(|idle| idle.strong_count() > 0);
        }
        all.push(Arc::downgrade(idle));
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Weak<Idle<Link>>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Every option by name, so that another version's defaults change nothing.
fn config() -> ConfigBuilder<AgentScope> {
    Agent::config_builder()
        // A 404 is an answer, and so is a 302: followed blindly it turns a DELETE into a GET elsewhere.
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .save_redirect_history(false)
        // The environment's proxy is not asked for, and least of all for localhost.
        .proxy(None)
        .user_agent(USER_AGENT)
        .accept(JSON)
        .accept_encoding(AutoHeaderValue::None)
        .max_response_header_size(crate::http::MAX_HEAD)
        // `idle` keeps them.
        .max_idle_connections(0)
        .max_idle_connections_per_host(0)
        .max_idle_age(Duration::ZERO)
        // Used by ureq's TLS only.
        .input_buffer_size(16 * 1024)
        .output_buffer_size(4 * 1024)
        // The wire keeps one deadline for the whole call. Some of these would spawn a thread a request.
        .timeout_global(None)
        .timeout_per_call(None)
        .timeout_resolve(None)
        .timeout_connect(None)
        .timeout_send_request(None)
        .timeout_await_100(None)
        .timeout_send_body(None)
        .timeout_recv_response(None)
        .timeout_recv_body(None)
        .timeout_per_read(None)
        .timeout_per_write(None)
}

fn run(agent: &Agent, request: &Request, url: &str) -> Result<Response<Body>, ureq::Error> {
    let body = request.body.as_deref();
    let builder = match (request.method, body) {
        ("POST", _) => agent.post(url),
        ("DELETE", Some(_)) => agent.delete(url).force_send_body(),
        ("DELETE", None) => return agent.delete(url).call(),
        _ => return agent.get(url).call(),
    };
    builder.content_type(JSON).send(body.unwrap_or_default())
}

/// A whole head with a status that HTTP knows.
///
/// It stands whatever becomes of the body: the status is what the server said, and all that is used.
struct Answer {
    status: u16,
    retry_after: Option<Duration>,
    location: Option<String>,
}

impl Answer {
    fn reply(self) -> Reply {
        Reply::Answered { status: self.status, retry_after: self.retry_after }
    }

    /// Where the same request is to go: only for the statuses that keep method and body, and only to the
    /// server that was asked, as where a slash was missing. Other redirects are answers.
    fn followed(&self, asked: &Host) -> Option<String> {
        let location = self.location.as_deref().filter(|_| matches!(self.status, 307 | 308))?;
        headers::same_origin(asked, location)
    }
}

fn read_answer(response: Response<Body>) -> Result<Answer, RequestError> {
    let status = response.status().as_u16();
    if !(200..=599).contains(&status) {
        return Err(errors::odd_status(status));
    }
    let text = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
    let answer = Answer {
        status,
        retry_after: text(header::RETRY_AFTER).and_then(|value| headers::retry_after(value, SystemTime::now())),
        location: text(header::LOCATION).map(str::to_owned),
    };
    drain(response);
    Ok(answer)
}

/// Reads the body to its end, upon which the connection is kept. A body that is cut, long or slow
/// takes its connection with it and changes nothing else.
fn drain(response: Response<Body>) {
    call::update(|call| call.shorten(DRAIN));
    let mut body = response.into_body().into_reader().take(MAX_BODY);
    let _ = io::copy(&mut body, &mut io::sink());
}

/// A request without an answer, and how far it got.
struct Failure {
    error: RequestError,
    after: Call,
}

impl Failure {
    /// Whether it died with a connection that the server had closed before it saw the request, as far as
    /// one can tell: then one more try is harmless, for a GET (RFC 9110, 9.2.2) and where nothing left.
    fn was_stale(&self, request: &Request) -> bool {
        let harmless = request.method == "GET" || !self.after.sent;
        self.error.kind() == Kind::Closed && !self.after.connected && !self.after.received && harmless
    }

    /// A failure of a second attempt. A byte of the first one may have left.
    fn after_attempt(mut self, first: &Failure) -> Self {
        self.after.sent |= first.after.sent;
        self
    }

    fn reply(self) -> Reply {
        if self.after.sent { Reply::Ambiguous(self.error) } else { Reply::NotSent(self.error) }
    }
}

/// In our words: ureq's own may show the URL.
fn describe(error: ureq::Error) -> RequestError {
    let call = call::current();
    let error = match error {
        ureq::Error::Other(ours) => match ours.downcast::<RequestError>() {
            Ok(ours) => *ours,
            Err(_) => RequestError::new(Kind::Internal, "the request failed"),
        },
        ureq::Error::Io(e) if e.kind() == io::ErrorKind::InvalidData => errors::tls_failed(e),
        ureq::Error::Io(e) => errors::closed(e),
        ureq::Error::Protocol(e) if call.sent => errors::not_http(e),
        ureq::Error::LargeResponseHeader(..) => errors::head_too_large(),
        #[cfg(feature = "rustls")]
        ureq::Error::Rustls(e) => errors::tls_failed(e),
        ureq::Error::Tls(what) => RequestError::new(Kind::Tls, what),
        _ if call.sent => RequestError::new(Kind::Garbage, "the answer could not be read"),
        _ => RequestError::new(Kind::Internal, "the request could not be written"),
    };
    if call.securing { errors::during_handshake(error, call.timeout) } else { error }
}
