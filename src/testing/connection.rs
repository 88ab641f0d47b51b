//! One connection from its first request to its last, with its faulty answers.

use std::{
    io::{self, Write},
    net::TcpStream,
    sync::Arc,
    time::Duration,
};

use super::{
    fault::{AnswerKind, Fault, NO_FAULT},
    reply::NodeReply,
    route::NodeCall,
    server::Server,
    wire::{self, ReceivedRequest, RefusedRequest, Wire},
};

/// The size of each part of an endless body, and the pause after it.
const ENDLESS_CHUNK: usize = 8 * 1024;
const ENDLESS_REST: Duration = Duration::from_millis(1);

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
            Err(RefusedRequest { status, reason }) => (unreadable(status, reason), false),
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

fn unreadable(status: u16, reason: &'static str) -> ReceivedRequest {
    ReceivedRequest { call: NodeCall::refused(status, reason), keep_alive: false, head_only: false }
}

/// Answers as `fault` says. Returns whether the connection can serve another request.
fn answer(
    server: &Server,
    wire: &mut Wire<'_>,
    out: &mut Vec<u8>,
    request: &ReceivedRequest,
    reply: &NodeReply,
    fault: &Fault,
) -> io::Result<bool> {
    if fault.answer == AnswerKind::Reset {
        return Ok(false);
    }
    wire.take_peeked()?;
    let keep_alive = request.keep_alive;
    match &fault.answer {
        AnswerKind::Drop | AnswerKind::Reset => return Ok(false),
        AnswerKind::Mute => {
            wire.wait_for_close();
            return Ok(false);
        }
        AnswerKind::Raw(bytes) => {
            wire.send(bytes)?;
            return Ok(false);
        }
        AnswerKind::Truth | AnswerKind::Stale | AnswerKind::Status(_) | AnswerKind::Redirect(..) => {
            reply.push(out, fault, keep_alive, request.head_only);
            wire.send(out)?;
        }
        AnswerKind::Trickle(interval) => {
            let head = reply.push(out, fault, keep_alive, request.head_only);
            for byte in &out[..head] {
                wire.send(&[*byte])?;
                if !server.pass_time(*interval) {
                    return Ok(false);
                }
            }
            wire.send(&out[head..])?;
        }
        AnswerKind::Endless => {
            reply.head(out, fault, false);
            return send_endless(server, wire, out);
        }
        AnswerKind::Huge(bytes) => {
            reply.head(out, fault, keep_alive);
            send_huge(wire, out, *bytes)?;
        }
        AnswerKind::Truncated => {
            reply.head(out, fault, keep_alive);
            wire::push_header(out, "Content-Length", &(reply.body().len() + 100).to_string());
            wire::end_head(out);
            out.extend_from_slice(reply.body());
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
    NodeReply::too_many_connections().push(&mut out, &NO_FAULT, false, false);
    let mut wire = Wire::new(stream);
    let _ = wire.send(&out);
    wire.close_gently();
}
