//! Incremental parser of one answer. No IO.
//!
//! ```text
//!   Head ── whole head ──▶ Body ── its end, its limit, an error ──▶ complete
//!     └── garbage, or larger than the limit ──▶ error
//! ```
//! After a whole head, the answer is valid. A defect of the body closes the connection, and cuts the body.

use std::io;
use std::time::{Duration, SystemTime};

use ureq_proto::BodyMode;
use ureq_proto::client::state::{RecvBody, RecvResponse};
use ureq_proto::client::{Call, RecvResponseResult, SendRequestResult};
use ureq_proto::http::{HeaderMap, Method, Request as Head, Response, header};

use crate::api::{Body, BodyUse, Request};
use crate::http::{MAX_HEAD, errors, headers, max_body};
use crate::values::cause::RequestError;

/// The parts of an answer that are used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) retry_after: Option<Duration>,
    pub(super) location: Option<String>,
    pub(super) body: Body,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    NeedsInput,
    /// The answer is whole, or the rest of its body is skipped.
    Complete {
        /// Whether the connection can carry another request.
        reusable: bool,
    },
}

pub(super) struct AnswerReader {
    state: State,
    answer: Option<Answer>,
    body_use: BodyUse,
    body: Vec<u8>,
    /// The body has arrived to its end.
    is_whole: bool,
    /// Number of bytes of the body that are still read. The rest is skipped.
    left: u64,
    reusable: bool,
}

enum State {
    Head(Call<RecvResponse>),
    Body(Call<RecvBody>),
    Over,
}

impl AnswerReader {
    /// Creates the reader of the answer to a request. `None` is a bug.
    pub(super) fn to(request: &Request) -> Option<Self> {
        let reader = AnswerReader {
            state: State::Head(parser(&request.method)?),
            answer: None,
            body_use: request.body_use,
            body: Vec::new(),
            is_whole: false,
            left: max_body(request.body_use),
            reusable: true,
        };
        Some(reader)
    }

    /// Returns whether the status is known.
    pub(super) fn has_head(&self) -> bool {
        self.answer.is_some()
    }

    /// Returns whether the body may take the whole timeout.
    pub(super) fn needs_body(&self) -> bool {
        self.body_use == BodyUse::Needed
    }

    /// Returns the answer, as far as it was read. Nothing is read after this call.
    pub(super) fn take_answer(&mut self) -> Option<Answer> {
        let body = std::mem::take(&mut self.body);
        let body = match self.body_use {
            BodyUse::Unused => Body::Unread,
            _ if self.is_whole => Body::Whole(body),
            _ => Body::Cut(body),
        };
        self.answer.take().map(|answer| Answer { body, ..answer })
    }

    /// Parses bytes that arrived, and returns the number of bytes consumed. The caller passes the rest again, followed
    /// by the next bytes. `scratch` is overwritten.
    ///
    /// # Errors
    /// If the head is garbage.
    pub(super) fn feed(&mut self, input: &[u8], scratch: &mut [u8]) -> Result<(usize, Progress), RequestError> {
        let mut used = 0;
        if let State::Head(_) = self.state {
            match self.feed_head(input)? {
                (amount, true) => used = amount,
                (amount, false) => return Ok((amount, Progress::NeedsInput)),
            }
        }
        let (amount, progress) = self.feed_body(&input[used..], scratch);
        Ok((used + amount, progress))
    }

    /// Handles the end of the stream. `rest` are the bytes that `feed` has not consumed.
    ///
    /// # Errors
    /// If the head is not whole.
    pub(super) fn end(&mut self, rest: &[u8]) -> Result<(), RequestError> {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Head(_) => Err(errors::closed(io::ErrorKind::UnexpectedEof.into())),
            State::Body(call) => {
                // After the last chunk nothing of the body is missing (RFC 9112, 8). A part of a trailer is damage.
                let is_ended = call.is_ended_chunked() && rest.is_empty();
                self.is_whole = is_ended || call.body_mode() == BodyMode::CloseDelimited;
                Ok(())
            }
            State::Over => Ok(()),
        }
    }

    fn feed_head(&mut self, input: &[u8]) -> Result<(usize, bool), RequestError> {
        let mut used = 0;
        let State::Head(call) = &mut self.state else { return Ok((0, true)) };
        let response = loop {
            let rest = &input[used..];
            let (amount, response) = call.try_response(rest, false).map_err(errors::not_http)?;
            if (response.is_some() && amount > MAX_HEAD) || (amount == 0 && rest.len() >= MAX_HEAD) {
                return Err(errors::head_too_large());
            }
            used += amount;
            match response {
                Some(response) => break response,
                // An interim answer (1xx) was skipped. The final one may follow.
                None if amount > 0 => {}
                None => return Ok((used, false)),
            }
        };
        self.answer = Some(read_head(&response)?);
        let headers = response.headers();
        // Two framings may contradict each other, so the connection must not be reused (RFC 9112, 6.3).
        self.reusable =
            !(headers.contains_key(header::TRANSFER_ENCODING) && headers.contains_key(header::CONTENT_LENGTH));
        let State::Head(call) = std::mem::replace(&mut self.state, State::Over) else { return Ok((used, true)) };
        match call.proceed() {
            Some(RecvResponseResult::RecvBody(call)) => self.state = State::Body(call),
            Some(RecvResponseResult::Redirect(call)) => self.reusable &= !call.must_close_connection(),
            Some(RecvResponseResult::Cleanup(call)) => self.reusable &= !call.must_close_connection(),
            None => self.reusable = false,
        }
        self.is_whole = matches!(self.state, State::Over);
        Ok((used, true))
    }

    fn feed_body(&mut self, input: &[u8], scratch: &mut [u8]) -> (usize, Progress) {
        let mut used = 0;
        let State::Body(call) = &mut self.state else {
            return (0, Progress::Complete { reusable: self.reusable });
        };
        loop {
            let Ok((amount, read)) = call.read(&input[used..], scratch) else { return (used, self.give_up()) };
            used += amount;
            let Some(left) = self.left.checked_sub(read as u64) else { return (used, self.give_up()) };
            self.left = left;
            if self.body_use != BodyUse::Unused {
                self.body.extend_from_slice(&scratch[..read]);
            }
            let ends_by_itself = call.body_mode() != BodyMode::CloseDelimited;
            if ends_by_itself && call.can_proceed() {
                break;
            }
            if amount == 0 {
                // The head of a chunk, or a trailer, is incomplete. Skip it if it is too long.
                let progress = if input.len() - used >= MAX_HEAD { self.give_up() } else { Progress::NeedsInput };
                return (used, progress);
            }
        }
        self.end_body();
        (used, Progress::Complete { reusable: self.reusable })
    }

    fn end_body(&mut self) {
        self.is_whole = true;
        if let State::Body(call) = std::mem::replace(&mut self.state, State::Over) {
            use ureq_proto::client::RecvBodyResult::{Cleanup, Redirect};
            self.reusable &= match call.proceed() {
                Some(Redirect(call)) => !call.must_close_connection(),
                Some(Cleanup(call)) => !call.must_close_connection(),
                None => false,
            };
        }
    }

    fn give_up(&mut self) -> Progress {
        self.state = State::Over;
        self.reusable = false;
        Progress::Complete { reusable: false }
    }
}

/// Returns the parser of an answer. All that it has to know of the request is whether its method is HEAD: only such an
/// answer may state the length of a body that does not follow (RFC 9112, 6.3).
fn parser(method: &str) -> Option<Call<RecvResponse>> {
    let mut head = Head::new(());
    *head.method_mut() = if method == "HEAD" { Method::HEAD } else { Method::GET };
    let Ok(call) = Call::new(head) else { return None };
    let mut call = call.proceed();
    // A call parses the answer only after it has written a request, so it writes one that is not sent.
    call.write(&mut [0; 32]).ok()?;
    match call.proceed() {
        Ok(Some(SendRequestResult::RecvResponse(call))) => Some(call),
        _ => None,
    }
}

fn read_head(response: &Response<()>) -> Result<Answer, RequestError> {
    let status = response.status().as_u16();
    if !(200..=599).contains(&status) {
        return Err(errors::odd_status(status));
    }
    let retry_after =
        text(response.headers(), header::RETRY_AFTER).and_then(|value| headers::retry_after(value, SystemTime::now()));
    let location = text(response.headers(), header::LOCATION).map(str::to_owned);
    Ok(Answer { status, retry_after, location, body: Body::Unread })
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}
