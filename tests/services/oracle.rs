//! Asks an instance in plain HTTP. Neither the client nor a mapping takes part, so neither can deceive a test.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Bounds an answer of a service that works.
const PATIENCE: Duration = Duration::from_secs(20);

/// The request that shows whether a thing is there, and its two answers. `{id}` and `{base64}` stand for the id.
#[derive(Clone, Copy)]
pub(crate) struct Oracle {
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    pub(crate) header: Option<(&'static str, &'static str)>,
    pub(crate) body: Option<&'static str>,
    pub(crate) present: Answer,
    pub(crate) absent: Answer,
}

/// A status, and a text that the body contains, or with `!` before it does not contain.
pub(crate) type Answer = (u16, &'static str);

impl Oracle {
    /// Whether the instance with this base URL has the thing. Any other answer fails the test.
    #[track_caller]
    pub(crate) fn has(&self, url: &str, headers: &[(String, String)], id: &str) -> bool {
        let (status, text) = self.send(url, headers, id).unwrap();
        let means = |answer: Answer| {
            let wanted = filled(answer.1, id);
            let holds = wanted.strip_prefix('!').map_or_else(|| text.contains(&wanted), |other| !text.contains(other));
            status == answer.0 && holds
        };
        match (means(self.present), means(self.absent)) {
            (true, false) => true,
            (false, true) => false,
            _ => panic!("{url} answered {status} {text:?} about {id}"),
        }
    }

    fn send(&self, url: &str, headers: &[(String, String)], id: &str) -> Result<(u16, String), ureq::Error> {
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .allow_non_standard_methods(true)
            .timeout_global(Some(PATIENCE))
            .build()
            .new_agent();
        let mut head =
            ureq::http::Request::builder().method(self.method).uri(filled(&format!("{url}{}", self.path), id));
        let own = self.header.map(|(name, value)| (name.to_owned(), value.to_owned()));
        for (name, value) in headers.iter().chain(&own) {
            head = head.header(name, value);
        }
        let mut answer = match self.body {
            Some(body) => agent.run(head.header("Content-Type", "application/json").body(filled(body, id)).unwrap())?,
            None => agent.run(head.body(()).unwrap())?,
        };
        let text = answer.body_mut().read_to_string()?;
        Ok((answer.status().as_u16(), text))
    }
}

fn filled(text: &str, id: &str) -> String {
    text.replace("{id}", id).replace("{base64}", &STANDARD.encode(id))
}
