//! One connection from its first request to its last, and the faulty answers.

use std::{
    borrow::Cow,
    io::{self, Write},
    net::TcpStream,
    sync::Arc,
    time::Duration,
};

use super::{
    fault::{Answer, Fault, NO_FAULT},
    json,
    route::{Call, Task},
    server::Server,
    state::State,
    wire::{self, Refusal, Request, Wire},
};

/// The size of each part of an endless body, and the pause after it.
const ENDLESS_CHUNK: usize = 8 * 1024;
const ENDLESS_REST: Duration = Duration::from_millis(1);

/// An answer before it is serialized.
pub(super) struct Reply {
    pub(super) status: u16,
    location: Option<String>,
    body: Cow<'static, str>,
}

impl Reply {
    pub(super) fn truthful(status: u16, call: &Call, state: &State) -> Self {
        let mut location = None;
        let body = match &call.task {
            Task::List => groups_body(state).into(),
            Task::Redirect(_, target) => {
                location = Some(target.clone());
                Cow::Borrowed("")
            }
            Task::Refuse(_, reason) => error_body(reason).into(),
            Task::Create | Task::Check | Task::Delete => match status {
                200 | 201 => group_body(call.group.as_deref().unwrap_or_default()).into(),
                404 => Cow::Borrowed(r#"{"error":"no such group"}"#),
                500 => Cow::Borrowed(r#"{"error":"the data file could not be written"}"#),
                _ => Cow::Borrowed(r#"{"error":"bad request, perhaps the object exists"}"#),
            },
        };
        Self { status, location, body }
    }

    pub(super) fn injected(status: u16, location: Option<String>) -> Self {
        Self { status, location, body: Cow::Borrowed(r#"{"error":"injected"}"#) }
    }

    /// Writes the status line and headers, without the end of the head.
    fn head(&self, out: &mut Vec<u8>, fault: &Fault, keep_alive: bool) {
        wire::push_status(out, self.status);
        wire::push_header(out, "Content-Type", "application/json");
        if self.status == 405 {
            wire::push_header(out, "Allow", "GET, POST, DELETE");
        }
        if let Some(location) = &self.location {
            wire::push_header(out, "Location", location);
        }
        for (name, value) in &fault.headers {
            wire::push_header(out, name, value);
        }
        if !keep_alive {
            wire::push_header(out, "Connection", "close");
        }
    }

    /// Writes the whole answer, and returns the length of its head.
    fn push(&self, out: &mut Vec<u8>, fault: &Fault, keep_alive: bool, head_only: bool) -> usize {
        self.head(out, fault, keep_alive);
        let bodyless = wire::is_bodyless(self.status);
        if !bodyless {
            wire::push_header(out, "Content-Length", &self.body.len().to_string());
        }
        wire::end_head(out);
        let head = out.len();
        if !bodyless && !head_only {
            out.extend_from_slice(self.body.as_bytes());
        }
        head
    }
}

fn group_body(group: &str) -> String {
    let mut body = String::with_capacity(group.len() + 16);
    body.push_str(r#"{"groupId":"#);
    json::push_string(&mut body, group);
    body.push('}');
    body
}

fn groups_body(state: &State) -> String {
    let mut body = String::from(r#"{"groups":["#);
    for (at, group) in state.groups().enumerate() {
        if at > 0 {
            body.push(',');
        }
        json::push_string(&mut body, group);
    }
    body.push_str("]}");
    body
}

fn error_body(reason: &str) -> String {
    let mut body = String::from(r#"{"error":"#);
    json::push_string(&mut body, reason);
    body.push('}');
    body
}

/// Serves requests until one side closes the connection.
pub(super) fn serve(server: &Arc<Server>, stream: &TcpStream, number: u64) {
    // Without it small answers wait for the client's delayed acknowledgements.
    let _ = stream.set_nodelay(true);
    let mut wire = Wire::new(stream);
    let mut out = Vec::new();
    while let Some(received) = wire.receive(&server.settings.paths) {
        out.clear();
        let (request, readable) = match received {
            Ok(request) => (request, true),
            Err(Refusal { status, reason }) => (unreadable(status, reason), false),
        };
        let Some((reply, fault)) = server.handle(&request.call, number) else {
            return;
        };
        let fault = fault.as_ref().unwrap_or(&NO_FAULT);
        let stays = answer(server, &mut wire, &mut out, &request, &reply, fault);
        if !readable {
            wire.close_gently();
        }
        if !stays.unwrap_or(false) {
            return;
        }
    }
}

fn unreadable(status: u16, reason: &'static str) -> Request {
    Request { call: Call::refused(status, reason), keep_alive: false, head_only: false }
}

/// Answers as `fault` says. Returns whether the connection can serve another request.
fn answer(
    server: &Server,
    wire: &mut Wire<'_>,
    out: &mut Vec<u8>,
    request: &Request,
    reply: &Reply,
    fault: &Fault,
) -> io::Result<bool> {
    if fault.answer == Answer::Reset {
        return Ok(false);
    }
    wire.take_peeked()?;
    let keep_alive = request.keep_alive;
    match &fault.answer {
        Answer::Drop | Answer::Reset => return Ok(false),
        Answer::Mute => {
            wire.wait_for_close();
            return Ok(false);
        }
        Answer::Raw(bytes) => {
            wire.send(bytes)?;
            return Ok(false);
        }
        Answer::Truth | Answer::Stale | Answer::Status(_) | Answer::Redirect(..) => {
            reply.push(out, fault, keep_alive, request.head_only);
            wire.send(out)?;
        }
        Answer::Trickle(interval) => {
            let head = reply.push(out, fault, keep_alive, request.head_only);
            for byte in &out[..head] {
                wire.send(&[*byte])?;
                if !server.pass_time(*interval) {
                    return Ok(false);
                }
            }
            wire.send(&out[head..])?;
        }
        Answer::Endless => {
            reply.head(out, fault, false);
            return send_endless(server, wire, out);
        }
        Answer::Huge(bytes) => {
            reply.head(out, fault, keep_alive);
            send_huge(wire, out, *bytes)?;
        }
        Answer::Truncated => {
            reply.head(out, fault, keep_alive);
            wire::push_header(out, "Content-Length", &(reply.body.len() + 100).to_string());
            wire::end_head(out);
            out.extend_from_slice(reply.body.as_bytes());
            wire.send(out)?;
            return Ok(false);
        }
    }
    Ok(keep_alive)
}

fn send_endless(server: &Server, wire: &Wire<'_>, out: &mut Vec<u8>) -> io::Result<bool> {
    wire::push_header(out, "Transfer-Encoding", "chunked");
    wire::end_head(out);
    wire.send(out)?;
    out.clear();
    write!(out, "{ENDLESS_CHUNK:x}\r\n")?;
    out.resize(out.len() + ENDLESS_CHUNK, b' ');
    out.extend_from_slice(b"\r\n");
    while server.pass_time(ENDLESS_REST) {
        wire.send(out)?;
    }
    Ok(false)
}

fn send_huge(wire: &Wire<'_>, out: &mut Vec<u8>, mut bytes: u64) -> io::Result<()> {
    wire::push_header(out, "Content-Length", &bytes.to_string());
    wire::end_head(out);
    wire.send(out)?;
    let block = [b' '; 16 * 1024];
    while bytes > 0 {
        let now = usize::try_from(bytes).unwrap_or(usize::MAX).min(block.len());
        wire.send(&block[..now])?;
        bytes -= now as u64;
    }
    Ok(())
}

/// Answers 503 on a connection above the limit.
pub(super) fn refuse(stream: &TcpStream) {
    let mut out = Vec::new();
    let reply = Reply { status: 503, location: None, body: r#"{"error":"too many connections"}"#.into() };
    reply.push(&mut out, &NO_FAULT, false, false);
    let mut wire = Wire::new(stream);
    let _ = wire.send(&out);
    wire.close_gently();
}
