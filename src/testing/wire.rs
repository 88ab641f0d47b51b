//! HTTP/1.1 on one connection: reading of requests, and serialization of answers.
//!
//! Bytes are *peeked* into the buffer. They are read from the socket only when more are needed, or when the request's
//! fault is known. A socket that is closed with unread bytes sends a reset, and std has no other way to send one.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpStream},
    time::Duration,
};

use super::route::{NodeCall, NodePaths};

const MAX_HEAD: usize = 16 * 1024;
const MAX_BODY: usize = 64 * 1024;
/// The framing of chunks counts as body.
const MAX_REQUEST: usize = MAX_HEAD + MAX_BODY;
const MAX_HEADERS: usize = 64;
const FIRST_BUFFER: usize = 1024;

pub(super) struct Wire<'a> {
    stream: &'a TcpStream,
    input: Vec<u8>,
    /// The unparsed bytes are `input[start..filled]`.
    start: usize,
    filled: usize,
    /// Number of bytes before `filled` that were not read from the socket yet.
    peeked: usize,
    body: Vec<u8>,
}

pub(super) struct ReceivedRequest {
    pub(super) call: NodeCall,
    pub(super) keep_alive: bool,
    /// A HEAD request, whose answer must not have a body.
    pub(super) head_only: bool,
}

pub(super) struct RefusedRequest {
    pub(super) status: u16,
    pub(super) reason: &'static str,
}

enum Parsed {
    Whole { request: ReceivedRequest, used: usize },
    Partial { wants_continue: bool },
}

impl<'a> Wire<'a> {
    pub(super) fn new(stream: &'a TcpStream) -> Self {
        Self { stream, input: vec![0; FIRST_BUFFER], start: 0, filled: 0, peeked: 0, body: Vec::new() }
    }

    /// Returns the next request, or `None` after the client has closed or reset the connection.
    pub(super) fn receive(&mut self, paths: &NodePaths) -> Option<Result<ReceivedRequest, RefusedRequest>> {
        let mut continued = false;
        loop {
            let bytes = &self.input[self.start..self.filled];
            match parse(bytes, &mut self.body, paths) {
                Ok(Parsed::Whole { request, used }) => {
                    self.start += used;
                    return Some(Ok(request));
                }
                Ok(Parsed::Partial { wants_continue }) => {
                    if wants_continue && !continued {
                        continued = true;
                        self.send(b"HTTP/1.1 100 Continue\r\n\r\n").ok()?;
                    }
                }
                Err(refusal) => return Some(Err(refusal)),
            }
            if !self.fill().ok()? {
                return None;
            }
        }
    }

    /// Peeks more bytes. Returns `false` at the end of the stream.
    fn fill(&mut self) -> io::Result<bool> {
        self.take_peeked()?;
        self.input.copy_within(self.start..self.filled, 0);
        self.filled -= self.start;
        self.start = 0;
        if self.filled == self.input.len() {
            self.input.resize(self.filled * 2, 0);
        }
        loop {
            match self.stream.peek(&mut self.input[self.filled..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
                Ok(count) => {
                    self.filled += count;
                    self.peeked = count;
                    return Ok(count > 0);
                }
            }
        }
    }

    /// Reads the peeked bytes from the socket.
    pub(super) fn take_peeked(&mut self) -> io::Result<()> {
        let from = self.filled - self.peeked;
        let mut stream = self.stream;
        stream.read_exact(&mut self.input[from..self.filled])?;
        self.peeked = 0;
        Ok(())
    }

    pub(super) fn send(&self, bytes: &[u8]) -> io::Result<()> {
        let mut stream = self.stream;
        stream.write_all(bytes)
    }

    /// Discards bytes until the client, or a stop of the node, closes the connection.
    pub(super) fn wait_for_close(&mut self) {
        let mut stream = self.stream;
        while !matches!(stream.read(&mut self.input), Ok(0) | Err(_)) {}
    }

    /// Closes the connection after an answer to a request that was not read completely. A close at once would send a
    /// reset, and the client could lose the answer. Discards at most 1 MiB, and waits at most 100 ms for each read.
    pub(super) fn close_gently(&mut self) {
        let mut stream = self.stream;
        let _ = stream.shutdown(Shutdown::Write);
        let _ = stream.set_read_timeout(Some(Duration::from_millis(100)));
        self.input.resize(MAX_HEAD, 0);
        for _ in 0..64 {
            if matches!(stream.read(&mut self.input), Ok(0) | Err(_)) {
                return;
            }
        }
    }
}

fn parse(bytes: &[u8], body: &mut Vec<u8>, paths: &NodePaths) -> Result<Parsed, RefusedRequest> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut head = httparse::Request::new(&mut headers);
    let length = match head.parse(bytes) {
        Ok(httparse::Status::Complete(length)) if length <= MAX_HEAD => length,
        Ok(httparse::Status::Partial) if bytes.len() <= MAX_HEAD => {
            return Ok(Parsed::Partial { wants_continue: false });
        }
        Ok(_) | Err(httparse::Error::TooManyHeaders) => return Err(refusal(431, "head too large")),
        Err(_) => return Err(refusal(400, "not an HTTP request")),
    };
    let framing = Framing::of(&head)?;
    let rest = &bytes[length..];
    let (body, used) = match framing.length {
        Length::Fixed(wanted) if rest.len() < wanted => return partial(bytes, &framing),
        Length::Fixed(wanted) => (&rest[..wanted], wanted),
        Length::Chunked => match dechunk(rest, body)? {
            None => return partial(bytes, &framing),
            Some(used) => (body.as_slice(), used),
        },
    };
    let method = head.method.unwrap_or_default();
    let request = ReceivedRequest {
        call: paths.route(method, head.path.unwrap_or_default(), body),
        keep_alive: framing.keep_alive,
        head_only: method == "HEAD",
    };
    Ok(Parsed::Whole { request, used: length + used })
}

/// The result for a complete head without a complete body.
fn partial(bytes: &[u8], framing: &Framing) -> Result<Parsed, RefusedRequest> {
    if bytes.len() > MAX_REQUEST {
        return Err(refusal(413, "body too large"));
    }
    Ok(Parsed::Partial { wants_continue: framing.wants_continue })
}

const fn refusal(status: u16, reason: &'static str) -> RefusedRequest {
    RefusedRequest { status, reason }
}

struct Framing {
    length: Length,
    keep_alive: bool,
    wants_continue: bool,
}

enum Length {
    Fixed(usize),
    Chunked,
}

impl Framing {
    fn of(head: &httparse::Request<'_, '_>) -> Result<Self, RefusedRequest> {
        let mut fixed = None;
        let mut chunked = false;
        // The keep-alive of HTTP/1.0 is not supported.
        let mut keep_alive = head.version == Some(1);
        let mut wants_continue = false;
        for header in &*head.headers {
            let value = header.value.trim_ascii();
            if header.name.eq_ignore_ascii_case("content-length") {
                let length = content_length(value)?;
                if fixed.replace(length).is_some_and(|other| other != length) {
                    return Err(refusal(400, "two lengths"));
                }
            } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
                if chunked || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(refusal(501, "an unknown transfer encoding"));
                }
                chunked = true;
            } else if header.name.eq_ignore_ascii_case("connection") {
                let mut options = value.split(|byte| *byte == b',');
                keep_alive &= !options.any(|one| one.trim_ascii().eq_ignore_ascii_case(b"close"));
            } else if header.name.eq_ignore_ascii_case("expect") {
                wants_continue = value.eq_ignore_ascii_case(b"100-continue");
            }
        }
        let length = match (fixed, chunked) {
            (Some(_), true) => return Err(refusal(400, "both a length and chunks")),
            (_, true) => Length::Chunked,
            (fixed, false) => Length::Fixed(fixed.unwrap_or(0)),
        };
        Ok(Self { length, keep_alive, wants_continue })
    }
}

fn content_length(value: &[u8]) -> Result<usize, RefusedRequest> {
    // `parse` accepts a sign, which a length cannot have.
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(refusal(400, "a bad length"));
    }
    match std::str::from_utf8(value).map(str::parse) {
        Ok(Ok(length)) if length <= MAX_BODY => Ok(length),
        _ => Err(refusal(413, "body too large")),
    }
}

/// Collects the content of all chunks in `body`. Returns the length of the chunks, or `None` if some are missing.
fn dechunk(bytes: &[u8], body: &mut Vec<u8>) -> Result<Option<usize>, RefusedRequest> {
    const BAD: RefusedRequest = refusal(400, "a bad chunk");
    body.clear();
    let mut at = 0;
    loop {
        let (header, size) = match httparse::parse_chunk_size(&bytes[at..]) {
            Ok(httparse::Status::Complete(found)) => found,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(_) => return Err(BAD),
        };
        at += header;
        if size == 0 {
            return Ok(end_of_trailers(&bytes[at..]).map(|end| at + end));
        }
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        if size > MAX_BODY - body.len() {
            return Err(refusal(413, "body too large"));
        }
        let Some(chunk) = bytes[at..].get(..size + 2) else {
            return Ok(None);
        };
        let (content, end) = chunk.split_at(size);
        if end != b"\r\n" {
            return Err(BAD);
        }
        body.extend_from_slice(content);
        at += size + 2;
    }
}

/// The end of the trailers, which are skipped: an empty line.
fn end_of_trailers(bytes: &[u8]) -> Option<usize> {
    if bytes.starts_with(b"\r\n") {
        return Some(2);
    }
    bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}

/// Appends the status line. [`end_head`] appends the empty line after the headers.
pub(super) fn push_status(out: &mut Vec<u8>, status: u16) {
    // Infallible: writing to a Vec.
    let _ = write!(out, "HTTP/1.1 {status} {}\r\n", reason(status));
}

pub(super) fn push_header(out: &mut Vec<u8>, name: &str, value: &str) {
    for part in [name, ": ", value, "\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
}

pub(super) fn end_head(out: &mut Vec<u8>) {
    out.extend_from_slice(b"\r\n");
}

/// Whether HTTP forbids a body after this status.
pub(super) fn is_bodyless(status: u16) -> bool {
    matches!(status, 100..=199 | 204 | 304)
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        204 => "No Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        413 => "Content Too Large",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Status",
    }
}
