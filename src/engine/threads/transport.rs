//! Floor 2: one request to one host, over ureq.
//!
//! ureq provides HTTP. Name look-ups, sockets, TLS, deadlines and idle connections are implemented here
//! ([`crate::http`], [`tcp`], [`tls`], [`context`], [`idle`]). ureq and rustls call the logger during a request, and the logger
//! may send another request on that thread. Therefore no lock is held there, and the state of requests is a stack per
//! thread. Deliberately absent: retries after an answer or a timeout, cookies, decompression, and threads,
//! except for name look-ups.
//!
//! Bounds:
//!
//! | what | bound | why |
//! | --- | --- | --- |
//! | a request | the `timeout` of `send` | each read, write, connect and look-up has the remaining time |
//! | a header of a request | 4 KiB | ureq writes each line as a whole into its buffer |
//! | a head of an answer | [`crate::http::MAX_HEAD`] | |
//! | a body | [`MAX_BODY`] and [`DRAIN`] | only its status is used |
//! | idle connections | [`idle`] a host, and [`ConnectionLimit`] in all | |
//! | look-ups of names | [`crate::http::resolver::MAX_LOOKUPS`] threads | |
//!
//! A host without requests takes the memory of its name only. An idle connection keeps no buffers. With TLS it keeps
//! the session and its buffers.

mod context;
mod idle;
mod resolve;
#[cfg(test)]
pub(crate) mod subject;
mod tcp;
#[cfg(test)]
#[path = "../suite/tests.rs"]
mod tests;
#[cfg(feature = "rustls")]
mod tls;
mod tunnel;

use std::io::{self, Read as _};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime};

use ureq::Agent;
use ureq::config::{AutoHeaderValue, ConfigBuilder};
use ureq::http::{HeaderValue, Request as Head, Response, header};
use ureq::typestate::AgentScope;

use self::context::RequestContext;
use self::idle::{IdleConnections, PoolingConnector};
use self::tcp::{NoResolver, TcpConnector};
use crate::api::{Body, BodyUse, Reply};
use crate::engine::Exchange;
use crate::http::head;
use crate::http::limit::ConnectionLimit;
use crate::http::proxy::Proxy;
use crate::http::resolver::Resolver;
use crate::http::tls::Tls;
use crate::http::{DRAIN, JSON, MAX_BODY, USER_AGENT, errors, headers};
use crate::values::cause::{RequestError, RequestErrorKind as Kind};
use crate::values::config::ConfigError;
use crate::values::host::Host;
use crate::values::usage::Traffic;

/// Sends requests over one ureq agent per host, each with a pool of connections.
pub(crate) struct UreqTransport {
    clients: Vec<HostClient>,
    maker: Arc<AgentMaker>,
}

struct HostClient {
    host: Host,
    /// Created with the first request.
    agent: OnceLock<Agent>,
}

impl UreqTransport {
    /// Creates a transport to `hosts`, which are numbered in this order. Sends nothing and looks up nothing.
    ///
    /// # Errors
    /// A [`ConfigError`] for a host that `tls` refuses.
    pub(crate) fn new(hosts: &[Host], tls: &Arc<Tls>) -> Result<Self, ConfigError> {
        Self::with(hosts, Arc::new(AgentMaker::new(tls)))
    }

    fn with(hosts: &[Host], maker: Arc<AgentMaker>) -> Result<Self, ConfigError> {
        maker.tls.check(hosts)?;
        let client = |host: &Host| HostClient { host: host.clone(), agent: OnceLock::new() };
        Ok(UreqTransport { clients: hosts.iter().map(client).collect(), maker })
    }

    /// Reaches hosts through this proxy. For a transport that has sent nothing.
    pub(crate) fn through(self, proxy: Option<Arc<Proxy>>) -> Self {
        let maker = AgentMaker {
            resolver: Arc::clone(&self.maker.resolver),
            limit: Arc::clone(&self.maker.limit),
            idle: Mutex::default(),
            proxy,
            tls: Arc::clone(&self.maker.tls),
        };
        UreqTransport { maker: Arc::new(maker), ..self }
    }

    /// Creates a transport to other hosts that shares the bounds of this one.
    ///
    /// # Errors
    /// A [`ConfigError`] for a host that the TLS of the client refuses.
    pub(crate) fn beside(&self, hosts: &[Host]) -> Result<Self, ConfigError> {
        Self::with(hosts, Arc::clone(&self.maker))
    }

    /// Sends the request to `url`. Repeats it only if its connection was stale, or if idle connections held all
    /// descriptors.
    fn exchange(
        &self,
        client: &HostClient,
        exchange: &Exchange,
        url: &str,
        context: RequestContext,
    ) -> Result<Answer, Failure> {
        let first = self.attempt(client, exchange, url, context);
        let Err(failure) = first else { return first };
        if failure.may_be_repeated(exchange) {
            let second = self.attempt(client, exchange, url, context.on_a_fresh_connection());
            return second.map_err(|second| second.after_attempt(&failure));
        }
        if failure.error.kind() == Kind::Exhausted && !failure.after.sent {
            self.shed_idle();
            return self.attempt(client, exchange, url, context);
        }
        Err(failure)
    }

    fn attempt(
        &self,
        client: &HostClient,
        exchange: &Exchange,
        url: &str,
        context: RequestContext,
    ) -> Result<Answer, Failure> {
        let agent = client.agent.get_or_init(|| self.maker.agent(&client.host));
        context::begin(context);
        let answer = run(agent, exchange, url).and_then(|response| read_answer(response, exchange.request.body_use));
        answer.map_err(|error| Failure { error, after: context::current() })
    }
}

impl UreqTransport {
    /// Sends a request to the host of this number, and reads the answer. Returns within the timeout of the exchange
    /// after `begun`, except for delays of the system in opening a socket.
    pub(crate) fn send(&self, begun: Instant, exchange: &Exchange) -> (Reply, Traffic) {
        let unsent = |error| (Reply::NotSent(error), Traffic::default());
        match self.clients.get(exchange.host) {
            _ if !exchange.may_begin(begun) => unsent(errors::outlasts_claim()),
            Some(client) => {
                let _outer = context::enter(&exchange.credentials);
                let reply = self.request(client, exchange, RequestContext::begun(begun, exchange.timeout));
                (reply, context::traffic())
            }
            None => unsent(errors::no_such_host()),
        }
    }

    /// Closes all idle connections of the client, to free their descriptors. Fewer are kept afterwards.
    pub(crate) fn shed_idle(&self) {
        self.maker.limit.keep_fewer();
        let idle: Vec<_> = self.maker.idle().iter().filter_map(Weak::upgrade).collect();
        for idle in idle {
            idle.clear();
        }
    }

    fn request(&self, client: &HostClient, exchange: &Exchange, context: RequestContext) -> Reply {
        let url = format!("{}{}", client.host, exchange.request.path);
        let first = match self.exchange(client, exchange, &url, context) {
            Ok(answer) => answer,
            Err(failure) => return failure.reply(),
        };
        let Some(url) = first.followed(&client.host) else { return first.reply() };
        match self.exchange(client, exchange, &url, context) {
            Ok(answer) => answer.reply(),
            // The server received the first request.
            Err(failure) => Reply::Ambiguous(failure.error),
        }
    }
}

/// Whether the calling thread can send requests. It cannot while it ends, in a destructor of a thread-local value.
pub(crate) fn can_send_here() -> bool {
    context::is_there()
}

/// Connection, with TLS if the host is https.
#[cfg(feature = "rustls")]
type Connection = ureq::unversioned::transport::Either<tcp::TcpTransport, tls::TlsTransport>;
#[cfg(not(feature = "rustls"))]
type Connection = tcp::TcpTransport;

/// Resources that all agents share.
struct AgentMaker {
    resolver: Arc<Resolver>,
    limit: Arc<ConnectionLimit>,
    /// Idle connections of each agent.
    idle: Mutex<Vec<Weak<IdleConnections<Connection>>>>,
    proxy: Option<Arc<Proxy>>,
    tls: Arc<Tls>,
}

impl AgentMaker {
    fn new(tls: &Arc<Tls>) -> Self {
        AgentMaker {
            resolver: Arc::default(),
            limit: Arc::default(),
            idle: Mutex::default(),
            proxy: None,
            tls: Arc::clone(tls),
        }
    }

    fn agent(&self, host: &Host) -> Agent {
        let proxy = Proxy::of(self.proxy.as_ref(), host);
        let absolute = proxy.clone().filter(|_| !host.is_https()).map(|proxy| (proxy, host.origin().into()));
        let connect_to_any = TcpConnector::new(host, proxy, Arc::clone(&self.resolver), Arc::clone(&self.limit));
        #[cfg(feature = "rustls")]
        let connect_to_any =
            ureq::unversioned::transport::Connector::chain(connect_to_any, tls::TlsConnector::new(&self.tls, host));
        let idle = Arc::default();
        self.add_idle(&idle);
        Agent::with_parts(config().build(), PoolingConnector::new(connect_to_any, idle, absolute), NoResolver)
    }

    fn add_idle(&self, idle: &Arc<IdleConnections<Connection>>) {
        let mut all = self.idle();
        if all.len() == all.capacity() {
            all.retain(|idle| idle.strong_count() > 0);
        }
        all.push(Arc::downgrade(idle));
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Weak<IdleConnections<Connection>>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sets every option, so that the defaults of another version change nothing.
fn config() -> ConfigBuilder<AgentScope> {
    Agent::config_builder()
        // Statuses such as 404 and 302 are answers. To follow a 302 would turn a DELETE into a GET of another URL.
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .save_redirect_history(false)
        // Such as MKCOL and PROPFIND.
        .allow_non_standard_methods(true)
        // Ignore the proxy of the environment.
        .proxy(None)
        .user_agent(USER_AGENT)
        .accept(JSON)
        .accept_encoding(AutoHeaderValue::None)
        .max_response_header_size(crate::http::MAX_HEAD)
        // The pool in `idle` replaces that of ureq.
        .max_idle_connections(0)
        .max_idle_connections_per_host(0)
        .max_idle_age(Duration::ZERO)
        // `RequestContext` has one deadline for the request. Some of these options would spawn a thread per request.
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

fn run(agent: &Agent, exchange: &Exchange, url: &str) -> Result<Response<ureq::Body>, RequestError> {
    let head = write_head(exchange, url).ok_or_else(errors::not_written)?;
    let run = match head::body(&exchange.request) {
        Some(body) => agent.run(head.map(|()| body)),
        None => agent.run(head),
    };
    run.map_err(describe)
}

/// Returns the head of the request, to which ureq adds the defaults that it does not name.
fn write_head(exchange: &Exchange, url: &str) -> Option<Head<()>> {
    let request = &*exchange.request;
    let mut written = Head::new(());
    *written.method_mut() = head::method(request)?;
    *written.uri_mut() = url.parse().ok()?;
    if request.body.is_some() && !head::names(request, header::CONTENT_TYPE.as_str()) {
        written.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(JSON));
    }
    for named in head::headers(request) {
        let (name, value) = named?;
        written.headers_mut().append(name, value);
    }
    Some(written)
}

/// The used parts of a whole head with a valid status. A defect of the body does not make it invalid.
struct Answer {
    status: u16,
    retry_after: Option<Duration>,
    location: Option<String>,
    body: Body,
}

impl Answer {
    fn reply(self) -> Reply {
        Reply::Answered { status: self.status, retry_after: self.retry_after, body: self.body }
    }

    /// Returns the URL at which to repeat the request. Only redirects that keep method, body and origin are followed,
    /// such as after a missing slash. Other redirects are answers.
    fn followed(&self, asked: &Host) -> Option<String> {
        let location = self.location.as_deref().filter(|_| matches!(self.status, 307 | 308))?;
        headers::same_origin(asked, location)
    }
}

fn read_answer(response: Response<ureq::Body>, body_use: BodyUse) -> Result<Answer, RequestError> {
    let status = response.status().as_u16();
    if !(200..=599).contains(&status) {
        return Err(errors::odd_status(status));
    }
    let text = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
    let mut answer = Answer {
        status,
        retry_after: text(header::RETRY_AFTER).and_then(|value| headers::retry_after(value, SystemTime::now())),
        location: text(header::LOCATION).map(str::to_owned),
        body: Body::Unread,
    };
    answer.body = read_body(response, body_use);
    Ok(answer)
}

/// Reads the body to its end, so that the connection is kept. A truncated, long or slow body closes its connection.
fn read_body(response: Response<ureq::Body>, body_use: BodyUse) -> Body {
    if body_use != BodyUse::Needed {
        context::update(|context| context.shorten(DRAIN));
    }
    let mut reader = response.into_body().into_reader();
    if body_use == BodyUse::Unused {
        let _ = io::copy(&mut reader.take(MAX_BODY), &mut io::sink());
        return Body::Unread;
    }
    let max_body = crate::http::max_body(body_use);
    let mut bytes = Vec::new();
    // One byte more tells whether the body is larger, and reads the end of a body of exactly this size.
    match reader.by_ref().take(max_body + 1).read_to_end(&mut bytes) {
        Ok(read) if read as u64 <= max_body => Body::Whole(bytes),
        _ => {
            bytes.truncate(usize::try_from(max_body).unwrap_or(usize::MAX));
            Body::Cut(bytes)
        }
    }
}

/// The failure of a request without an answer.
struct Failure {
    error: RequestError,
    after: RequestContext,
}

impl Failure {
    /// Returns whether the server may have closed the idle connection before it received the request, and repeating
    /// the request is harmless. It is harmless if the request only reads, and if no byte was sent.
    fn may_be_repeated(&self, exchange: &Exchange) -> bool {
        let harmless = exchange.only_reads || !self.after.sent;
        self.error.kind() == Kind::Closed && !self.after.connected && !self.after.received && harmless
    }

    /// Returns the failure of a second attempt. Bytes of the first attempt count as sent.
    fn after_attempt(mut self, first: &Failure) -> Self {
        self.after.sent |= first.after.sent;
        self
    }

    fn reply(self) -> Reply {
        if self.after.sent { Reply::Ambiguous(self.error) } else { Reply::NotSent(self.error) }
    }
}

/// Replaces the error of ureq, whose text may contain the URL.
fn describe(error: ureq::Error) -> RequestError {
    let context = context::current();
    let error = match error {
        ureq::Error::Other(ours) => match ours.downcast::<RequestError>() {
            Ok(ours) => *ours,
            Err(_) => RequestError::new(Kind::Internal, "the request failed"),
        },
        ureq::Error::Io(e) => errors::closed(e),
        ureq::Error::Protocol(e) if context.sent => errors::not_http(e),
        ureq::Error::LargeResponseHeader(..) => errors::head_too_large(),
        _ if context.sent => RequestError::new(Kind::Garbage, "the answer could not be read"),
        _ => RequestError::new(Kind::Internal, "the request could not be written"),
    };
    if context.securing { errors::during_handshake(error, context.timeout) } else { error }
}
