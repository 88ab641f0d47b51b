//! The bytes of a request. No IO.

use ureq_proto::client::state::{Prepare, RecvResponse};
use ureq_proto::client::{Call, SendRequestResult};
use ureq_proto::http::uri::{Authority, PathAndQuery, Scheme};
use ureq_proto::http::{HeaderName, HeaderValue, Request as Head, Uri, header};

use crate::api::Request;
use crate::http::additions::HeadAdditions;
use crate::http::head;
use crate::http::{JSON, USER_AGENT, errors};
use crate::values::cause::RequestError;

/// The constant parts of every request to one host.
#[derive(Debug)]
pub(super) struct Origin {
    scheme: Scheme,
    authority: Authority,
    host: HeaderValue,
}

impl Origin {
    /// Takes an `authority` that was checked: a name or an address, with a port if it is not the default.
    pub(super) fn new(authority: &str, https: bool) -> Option<Self> {
        let scheme = if https { Scheme::HTTPS } else { Scheme::HTTP };
        let host = HeaderValue::from_str(authority).ok()?;
        Some(Origin { scheme, authority: authority.parse().ok()?, host })
    }
}

/// Appends head and body to `output`, and returns the parser of the answer.
///
/// # Errors
/// If the request is not valid HTTP. Requests are checked when they are created.
pub(super) fn write(
    origin: &Origin,
    path: &str,
    request: &Request,
    additions: &HeadAdditions,
    output: &mut Vec<u8>,
) -> Result<Call<RecvResponse>, RequestError> {
    let start = output.len();
    let call = try_write(origin, path, request, output);
    let written = call.filter(|_| add(additions, start, output));
    written.ok_or_else(|| {
        output.truncate(start);
        errors::not_written()
    })
}

/// Adds to the request that begins at `start`. Returns false if it has no request line.
fn add(additions: &HeadAdditions, start: usize, output: &mut Vec<u8>) -> bool {
    if additions.is_empty() {
        return true;
    }
    let Some(request) = additions.added_to(&output[start..]) else { return false };
    output.truncate(start);
    output.extend_from_slice(&request);
    true
}

fn try_write(origin: &Origin, path: &str, request: &Request, output: &mut Vec<u8>) -> Option<Call<RecvResponse>> {
    let mut call = prepare(origin, path, request)?.proceed();
    let start = output.len();
    // The constant lines fit in 512 bytes. If the space is too small, writing fails.
    let headers = request.headers.iter().map(|(name, value)| name.len() + value.len() + 4);
    let space = 512 + request.method.len() + origin.host.len() + path.len() + headers.sum::<usize>();
    output.resize(start + space, 0);
    let mut end = start;
    while !call.can_proceed() {
        end += call.write(&mut output[end..]).ok()?;
    }
    output.truncate(end);
    match call.proceed().ok()?? {
        SendRequestResult::RecvResponse(call) => Some(call),
        SendRequestResult::SendBody(mut call) => {
            let body = request.body.as_deref().unwrap_or_default().as_bytes();
            output.extend_from_slice(body);
            call.consume_direct_write(body.len()).ok()?;
            call.proceed()
        }
        SendRequestResult::Await100(_) => None,
    }
}

fn prepare(origin: &Origin, path: &str, request: &Request) -> Option<Call<Prepare>> {
    let mut parts = ureq_proto::http::uri::Parts::default();
    parts.scheme = Some(origin.scheme.clone());
    parts.authority = Some(origin.authority.clone());
    parts.path_and_query = Some(PathAndQuery::try_from(path).ok()?);
    let mut start = Head::new(());
    *start.uri_mut() = Uri::from_parts(parts).ok()?;
    *start.method_mut() = head::method(request)?;
    let mut call = Call::new(start).ok()?;
    call.allow_non_standard_methods(true);
    let default = |call: &mut Call<Prepare>, name: HeaderName, value: HeaderValue| {
        if head::names(request, &name) { Some(()) } else { call.header(name, value).ok() }
    };
    default(&mut call, header::HOST, origin.host.clone())?;
    default(&mut call, header::USER_AGENT, HeaderValue::from_static(USER_AGENT))?;
    default(&mut call, header::ACCEPT, HeaderValue::from_static(JSON))?;
    if request.body.is_some() {
        call.force_send_body();
        default(&mut call, header::CONTENT_TYPE, HeaderValue::from_static(JSON))?;
    }
    if let Some(body) = head::body(request) {
        call.header(header::CONTENT_LENGTH, HeaderValue::from(body.len() as u64)).ok()?;
    }
    for named in head::headers(request) {
        let (name, value) = named?;
        call.header(name, value).ok()?;
    }
    Some(call)
}
