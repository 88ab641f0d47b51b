//! An answer of the node: its status, headers and body.

use std::borrow::Cow;

use super::{
    fault::Fault,
    json,
    route::{CallKind, NodeCall},
    state::NodeState,
    wire,
};

/// An answer before it is serialized.
pub(super) struct NodeReply {
    pub(super) status: u16,
    location: Option<String>,
    body: Cow<'static, str>,
}

impl NodeReply {
    pub(super) fn truthful(status: u16, call: &NodeCall, state: &NodeState) -> Self {
        let mut location = None;
        let body = match &call.kind {
            CallKind::List => groups_body(state).into(),
            CallKind::Redirect(_, target) => {
                location = Some(target.clone());
                Cow::Borrowed("")
            }
            CallKind::Refuse(_, reason) => error_body(reason).into(),
            CallKind::Create | CallKind::Check | CallKind::Delete => match status {
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

    pub(super) fn too_many_connections() -> Self {
        Self { status: 503, location: None, body: Cow::Borrowed(r#"{"error":"too many connections"}"#) }
    }

    pub(super) fn body(&self) -> &[u8] {
        self.body.as_bytes()
    }

    /// Writes the status line and headers, without the end of the head.
    pub(super) fn head(&self, out: &mut Vec<u8>, fault: &Fault, keep_alive: bool) {
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
    pub(super) fn push(&self, out: &mut Vec<u8>, fault: &Fault, keep_alive: bool, head_only: bool) -> usize {
        self.head(out, fault, keep_alive);
        let bodyless = wire::is_bodyless(self.status);
        if !bodyless {
            wire::push_header(out, "Content-Length", &self.body.len().to_string());
        }
        wire::end_head(out);
        let head = out.len();
        if !bodyless && !head_only {
            out.extend_from_slice(self.body());
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

fn groups_body(state: &NodeState) -> String {
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
