//! Beside the floors: private parts, for the fuzz targets in `fuzz/`. Only a build with `--cfg fuzzing` has this
//! module; `cargo fuzz` sets that flag.

use std::time::{Duration, Instant, SystemTime};

use crate::api::{self, Action, Api, Body, Classification, Reply};
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
    /// The server answered with this status.
    Answered(u16, Option<Duration>),
    /// It may have been applied.
    Ambiguous(String),
}

impl Wire {
    /// # Errors
    /// A [`ConfigError`] if the host needs TLS and the build has none.
    pub fn new(host: &Host) -> Result<Self, ConfigError> {
        UreqTransport::new(std::slice::from_ref(host)).map(Wire)
    }

    /// Sends one request, as the driver does. Returns its answer, and whether it counts as confirmed.
    pub fn ask(&self, action: Action, group: &GroupId, timeout: Duration) -> (Answer, bool) {
        let api = Api::default();
        let reply = self.0.send(Instant::now(), 0, &api.request(action, group), timeout);
        let answer = Answer::of(&reply);
        (answer, api::classify(&api, action, group, reply).classification == Classification::Confirmed)
    }
}

/// Sends one request with the multiplexed engine, on a new connection.
#[cfg(feature = "multiplex")]
pub fn ask_multiplexed(host: &Host, action: Action, group: &GroupId, timeout: Duration) -> Answer {
    use crate::engine::multiplexed::Multiplexed;
    use crate::engine::{Engine as _, Exchange};
    let mut engine = Multiplexed::new(std::slice::from_ref(host), std::sync::Arc::default());
    let request = std::sync::Arc::new(Api::default().request(action, group));
    let headers = std::sync::Arc::new([]);
    engine.submit(Exchange { id: 0, host: 0, request, headers, timeout });
    let mut completed = Vec::new();
    while completed.is_empty() {
        engine.wait(None, &mut completed);
    }
    Answer::of(&completed[0].reply)
}

impl Answer {
    fn of(reply: &Reply) -> Self {
        match reply {
            Reply::NotSent(error) => Answer::NotSent(error.to_string()),
            Reply::Answered { status, retry_after, .. } => Answer::Answered(*status, *retry_after),
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
    Intent { group, purpose, api: Api::default().reference(), hosts }
}

/// Appends the checksum of `body` as the last line, which a fuzzer cannot guess.
pub fn signed(body: &str) -> String {
    format!("{body}checksum: {:016x}\n", fnv1a(body.as_bytes()))
}
