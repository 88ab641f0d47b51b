//! Requests to the JSON gateway of etcd: each goes to the endpoints in turn, until one has served it.
//!
//! A member that is stopped accepts connections and never answers, so each attempt has a short timeout. The header
//! `hasleader` makes a member without a leader refuse at once.
//!
//! Bounds: [`ATTEMPT`] for one endpoint, the time in [`Query::until`] for all, `MAX_NEEDED_BODY` for an answer.

use std::borrow::Cow;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::answer::{self, EndpointProblem, HEADER};
use super::login::Login;
use super::moment::Moment;
use crate::api::{Body, BodyUse, Reply, Request};
use crate::engine::Exchange;
use crate::engine::threads::transport::UreqTransport;
use crate::http::MAX_NEEDED_BODY;
use crate::http::credentials::HeaderLines;
use crate::http::tls::Tls;
use crate::values::cause::{JournalError, RequestErrorKind};
use crate::values::config::ConfigError;
use crate::values::host::Host;
use crate::values::printable::Printable;

/// Timeout of one attempt at one endpoint.
pub(super) const ATTEMPT: Duration = Duration::from_millis(1_500);
/// Time for one change at all endpoints. A new leader is elected within it.
pub(super) const PATIENCE: Duration = Duration::from_secs(6);
/// Pause after all endpoints have failed. It doubles up to the longest.
const PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(400);

/// The endpoints of one etcd cluster.
pub(super) struct Gateway {
    transport: UreqTransport,
    endpoints: Vec<Host>,
    /// The endpoint that served the last request.
    preferred: AtomicUsize,
    headers: Arc<[(String, String)]>,
    /// The cluster that gave the first answer, and its endpoint.
    cluster: OnceLock<(String, usize)>,
    login: Option<Login>,
}

/// One request.
pub(super) struct Query {
    pub(super) path: &'static str,
    pub(super) body: String,
    /// The place of the header in the answer.
    pub(super) header: &'static str,
    /// Whether a late repetition is harmless.
    pub(super) may_repeat: bool,
    /// No attempt begins after this time, or ends much later.
    pub(super) until: Instant,
}

/// An answer that has a header.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) value: Value,
    /// A moment before the request was sent that was answered.
    pub(super) sent: Moment,
    /// An earlier attempt may have been applied, or may be applied later.
    pub(super) was_ambiguous: bool,
}

/// The error of a request at all endpoints. It names the endpoints and the remedy.
#[derive(Debug, Clone)]
pub(super) struct GatewayError {
    pub(super) kind: ErrorKind,
    pub(super) text: String,
    /// An attempt may have been applied, or may be applied later.
    pub(super) was_ambiguous: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ErrorKind {
    /// No endpoint has served it in time.
    Unavailable,
    /// This process is out of file descriptors, threads or memory.
    Exhausted,
    LeaseNotFound,
    Compacted,
    TooLarge,
    Refused,
}

impl GatewayError {
    /// A problem that no endpoint can solve.
    pub(super) fn refused(text: impl Into<String>) -> Self {
        GatewayError { kind: ErrorKind::Refused, text: text.into(), was_ambiguous: false }
    }

    pub(super) fn exhausted(text: String) -> Self {
        GatewayError { kind: ErrorKind::Exhausted, text, was_ambiguous: false }
    }

    pub(super) fn lease_not_found() -> Self {
        GatewayError { kind: ErrorKind::LeaseNotFound, text: "the lease has ended".into(), was_ambiguous: false }
    }

    /// The error of a call of the journal.
    pub(super) fn of(&self, action: impl Into<Cow<'static, str>>) -> JournalError {
        let kind = match self.kind {
            ErrorKind::Exhausted => io::ErrorKind::OutOfMemory,
            ErrorKind::Unavailable => io::ErrorKind::NotConnected,
            _ => io::ErrorKind::Other,
        };
        JournalError::new(action, io::Error::new(kind, Printable::new(&self.text).to_string()))
    }
}

/// The problems of the endpoints in one request, the newest of each.
struct Troubles<'a> {
    endpoints: &'a [Host],
    newest: Vec<Option<String>>,
    was_ambiguous: bool,
    /// Endpoints that failed in this turn by a problem that may pass.
    passing: usize,
}

impl Gateway {
    pub(super) fn new(endpoints: Vec<Host>, tls: &Arc<Tls>, login: Option<Login>) -> Result<Self, ConfigError> {
        Ok(Gateway {
            transport: UreqTransport::new(&endpoints, tls)?,
            endpoints,
            preferred: AtomicUsize::new(0),
            cluster: OnceLock::new(),
            headers: Arc::new([("Grpc-Metadata-hasleader".into(), "true".into())]),
            login,
        })
    }

    /// Sends a request to the endpoints in turn, beginning with the one that served the last request.
    pub(super) fn call(&self, query: &Query) -> Result<Served, GatewayError> {
        self.try_endpoints(query).map_err(|error| match &self.login {
            Some(login) => GatewayError { text: login.masked(error.text), ..error },
            None => error,
        })
    }

    fn try_endpoints(&self, query: &Query) -> Result<Served, GatewayError> {
        let first = self.preferred.load(Ordering::Relaxed);
        let mut troubles = Troubles::new(&self.endpoints);
        let mut pause = PAUSE;
        loop {
            for turn in 0..self.endpoints.len() {
                let endpoint = (first + turn) % self.endpoints.len();
                if query.until <= Instant::now() {
                    return Err(troubles.unavailable());
                }
                let sent = Moment::now();
                let asked = self.ask(endpoint, query);
                match asked.and_then(|value| self.of_one_cluster(endpoint, query, value)) {
                    Ok(value) => {
                        self.preferred.store(endpoint, Ordering::Relaxed);
                        return Ok(Served { value, sent, was_ambiguous: troubles.was_ambiguous });
                    }
                    Err(problem) => troubles.add(endpoint, problem)?,
                }
            }
            if std::mem::take(&mut troubles.passing) == 0 || query.until <= Instant::now() + pause {
                return Err(troubles.unavailable());
            }
            thread::sleep(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Refuses the answer of another cluster than that of the first answer. A lock there would exclude nobody here.
    fn of_one_cluster(&self, endpoint: usize, query: &Query, answer: Value) -> Result<Value, EndpointProblem> {
        let id = answer.pointer(query.header).and_then(|header| header.get("cluster_id")?.as_str());
        let Some(id) = id else { return Ok(answer) };
        let (first, of) = self.cluster.get_or_init(|| (id.to_owned(), endpoint));
        if first == id {
            return Ok(answer);
        }
        let other = &self.endpoints[*of];
        let problem = format!(
            "it is of another etcd cluster than {other}: name the members of one cluster. If etcd was set up anew,              start this process again"
        );
        Err(EndpointProblem::Lasting(problem))
    }

    /// Sends a request to one endpoint, and again with a new token if the endpoint refuses the token.
    fn ask(&self, endpoint: usize, query: &Query) -> Result<Value, EndpointProblem> {
        let token = self.login.as_ref().map(Login::token).unwrap_or_default();
        let first = self.attempt(endpoint, query, token);
        let Err(EndpointProblem::NeedsLogin(reason)) = first else { return first };
        let Some(login) = &self.login else {
            return Err(EndpointProblem::Refused(format!("{reason}: set the etcd user and its password")));
        };
        self.log_in(endpoint, login, query.until)?;
        match self.attempt(endpoint, query, login.token()) {
            Err(EndpointProblem::NeedsLogin(reason)) => {
                Err(EndpointProblem::Lasting(format!("{reason}, even after a login")))
            }
            second => second,
        }
    }

    fn log_in(&self, endpoint: usize, login: &Login, until: Instant) -> Result<(), EndpointProblem> {
        let body = login.request().map_err(|refused| EndpointProblem::Refused(refused.to_string()))?;
        let query = Query { path: "/v3/auth/authenticate", body, header: HEADER, may_repeat: true, until };
        let answer = match self.attempt(endpoint, &query, HeaderLines::default()) {
            // To log in twice changes nothing.
            Err(EndpointProblem::Ambiguous(reason)) => Err(EndpointProblem::NotApplied(reason)),
            answer => answer,
        }?;
        let token = answer.get("token").and_then(Value::as_str).unwrap_or_default();
        if login.keep(token) {
            Ok(())
        } else {
            Err(EndpointProblem::NotApplied("the login was answered without a token".into()))
        }
    }

    fn attempt(&self, endpoint: usize, query: &Query, credentials: HeaderLines) -> Result<Value, EndpointProblem> {
        let begun = Instant::now();
        let request = Request {
            method: "POST".into(),
            path: query.path.into(),
            headers: Arc::clone(&self.headers),
            body: Some(query.body.clone()),
            body_use: BodyUse::Needed,
        };
        let exchange = Exchange {
            id: 0,
            host: endpoint,
            request: Arc::new(request),
            only_reads: query.may_repeat,
            credentials,
            timeout: ATTEMPT.min(query.until.saturating_duration_since(begun)).max(Duration::from_millis(1)),
            not_after: None,
        };
        match self.transport.send(begun, &exchange).0 {
            Reply::Answered { status, body: Body::Whole(bytes), .. } => answer::read(status, &bytes, query.header),
            Reply::Answered { body: Body::Cut(bytes), .. } if bytes.len() as u64 >= MAX_NEEDED_BODY => {
                Err(EndpointProblem::TooLarge(
                    "the answer is too large, as if a key were not of this journal: list what is unfinished".into(),
                ))
            }
            Reply::Answered { .. } => Err(EndpointProblem::Ambiguous("the answer was cut off".into())),
            Reply::NotSent(error) if error.kind() == RequestErrorKind::Exhausted => {
                Err(EndpointProblem::Exhausted(error.to_string()))
            }
            Reply::NotSent(error) if error.kind() == RequestErrorKind::Tls => {
                Err(EndpointProblem::Lasting(error.to_string()))
            }
            Reply::NotSent(error) => Err(EndpointProblem::NotApplied(error.to_string())),
            Reply::Ambiguous(error) => Err(EndpointProblem::Ambiguous(error.to_string())),
        }
    }
}

impl<'a> Troubles<'a> {
    fn new(endpoints: &'a [Host]) -> Self {
        Troubles { endpoints, newest: vec![None; endpoints.len()], was_ambiguous: false, passing: 0 }
    }

    /// Keeps the problem of an endpoint. Returns an error if no other endpoint can help.
    fn add(&mut self, endpoint: usize, problem: EndpointProblem) -> Result<(), GatewayError> {
        let (kind, text) = match problem {
            EndpointProblem::NotApplied(text) => {
                self.passing += 1;
                self.newest[endpoint] = Some(text);
                return Ok(());
            }
            EndpointProblem::Ambiguous(text) => {
                self.passing += 1;
                self.was_ambiguous = true;
                self.newest[endpoint] = Some(text);
                return Ok(());
            }
            EndpointProblem::Lasting(text) | EndpointProblem::NeedsLogin(text) => {
                self.newest[endpoint] = Some(text);
                return Ok(());
            }
            EndpointProblem::Exhausted(text) => (ErrorKind::Exhausted, text),
            EndpointProblem::LeaseNotFound => (ErrorKind::LeaseNotFound, "the lease has ended".into()),
            EndpointProblem::Compacted => (ErrorKind::Compacted, "the revision was compacted: try again".into()),
            EndpointProblem::TooLarge(text) => (ErrorKind::TooLarge, text),
            EndpointProblem::Refused(text) => (ErrorKind::Refused, text),
        };
        let text = format!("{}: {text}", self.endpoints[endpoint]);
        Err(GatewayError { kind, text, was_ambiguous: self.was_ambiguous })
    }

    fn unavailable(&self) -> GatewayError {
        let problems = self.endpoints.iter().zip(&self.newest);
        let problems: Vec<_> =
            problems.filter_map(|(endpoint, text)| Some(format!("{endpoint}: {}", text.as_ref()?))).collect();
        let problems = if problems.is_empty() { "no time was left".into() } else { problems.join("; ") };
        // A server may close the connection without a reason if it wants TLS, or a client certificate.
        let is_https = self.endpoints.iter().any(Host::is_https);
        let tls = if is_https { "the client certificate" } else { "whether they speak TLS (etcds://)" };
        let text = format!("{problems}: check that most members of etcd run, the URL of the journal, and {tls}");
        GatewayError { kind: ErrorKind::Unavailable, text, was_ambiguous: self.was_ambiguous }
    }
}
