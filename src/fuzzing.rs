//! Beside the floors: private parts, for the fuzz targets in `fuzz/`. Only a build with `--cfg fuzzing` has this
//! module; `cargo fuzz` sets that flag.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::api::{self, Action, Api, Body, BodyUse, Classification, Reply, Request};
use crate::engine::Exchange;
use crate::engine::threads::transport::UreqTransport;
use crate::http::headers::{retry_after as wish, same_origin as followed};
use crate::values::checksum::fnv1a;
use crate::values::config::ConfigError;
use crate::values::group::GroupId;
use crate::values::host::Host;
use crate::values::intent::{Intent, Purpose};

/// The delay of a `Retry-After` at the time `now`.
pub fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    wish(value, now)
}

/// The path to which a redirect is followed.
pub fn same_origin(asked: &Host, location: &str) -> Option<String> {
    followed(asked, location)
}

/// Path and body of a request.
pub fn request(api: &Api, action: Action, group: &GroupId) -> (String, Option<String>) {
    let request = api.request(action, group);
    (request.path, request.body)
}

/// Whether an answer with this status and body confirms the action.
pub fn confirms(api: &Api, action: Action, group: &GroupId, status: u16, body: &[u8]) -> bool {
    let reply = Reply::Answered { status, retry_after: None, body: Body::Whole(body.to_vec()) };
    api::classify(api, action, group, reply).classification == Classification::Confirmed
}

/// The transport to one host.
pub struct Wire(UreqTransport);

/// The result of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It was not sent.
    NotSent(String),
    /// The server answered with this status, delay and body.
    Answered(u16, Option<Duration>, Content),
    /// It may have been applied.
    Ambiguous(String),
}

/// The body of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    Unread,
    Whole(Vec<u8>),
    /// Without its bytes: the engines decode different amounts at a time, so they stop at different places.
    Cut,
}

impl Wire {
    /// # Errors
    /// A [`ConfigError`] if the host needs TLS and the build has none.
    pub fn new(host: &Host) -> Result<Self, ConfigError> {
        UreqTransport::new(std::slice::from_ref(host), &std::sync::Arc::default()).map(Wire)
    }

    /// Sends one request, as the driver does. Returns its answer, and whether it counts as confirmed.
    pub fn ask(&self, action: Action, group: &GroupId, needs_body: bool, timeout: Duration) -> (Answer, bool) {
        let api = Api::default();
        let reply = self.0.send(Instant::now(), &exchange(action, group, needs_body, timeout));
        let answer = Answer::of(&reply);
        (answer, api::classify(&api, action, group, reply).classification == Classification::Confirmed)
    }
}

/// Sends one request with the multiplexed engine, on a new connection.
#[cfg(feature = "multiplex")]
pub fn ask_multiplexed(host: &Host, action: Action, group: &GroupId, needs_body: bool, timeout: Duration) -> Answer {
    use crate::engine::Engine as _;
    use crate::engine::multiplexed::Multiplexed;
    let mut engine = Multiplexed::new(std::slice::from_ref(host), Arc::default());
    engine.submit(exchange(action, group, needs_body, timeout));
    let mut completed = Vec::new();
    while completed.is_empty() {
        engine.wait(None, &mut completed);
    }
    Answer::of(&completed[0].reply)
}

fn exchange(action: Action, group: &GroupId, needs_body: bool, timeout: Duration) -> Exchange {
    let request = Api::default().request(action, group);
    let body_use = if needs_body { BodyUse::Needed } else { request.body_use };
    let request = Arc::new(Request { body_use, ..request });
    let credentials = crate::http::credentials::HeaderLines::default();
    Exchange { id: 0, host: 0, request, only_reads: action == Action::Check, credentials, timeout, not_after: None }
}

impl Answer {
    fn of(reply: &Reply) -> Self {
        match reply {
            Reply::NotSent(error) => Answer::NotSent(error.to_string()),
            Reply::Answered { status, retry_after, body } => {
                let content = match body {
                    Body::Unread => Content::Unread,
                    Body::Whole(bytes) => Content::Whole(bytes.clone()),
                    Body::Cut(_) => Content::Cut,
                };
                Answer::Answered(*status, *retry_after, content)
            }
            Reply::Ambiguous(error) => Answer::Ambiguous(error.to_string()),
        }
    }
}

/// Makes an intent with one of the four purposes.
pub fn intent(group: GroupId, purpose: u8, hosts: Vec<Host>) -> Intent {
    let purpose = match purpose % 4 {
        0 => Purpose::Create { was_absent: true },
        1 => Purpose::Create { was_absent: false },
        2 => Purpose::Delete,
        _ => Purpose::Present,
    };
    Intent::of(group, purpose, Api::default().reference(), hosts)
}

/// Appends the checksum of `body` as the last line, which a fuzzer cannot guess.
pub fn signed(body: &str) -> String {
    format!("{body}checksum: {:016x}\n", fnv1a(body.as_bytes()))
}
