//! A classified reply, the only part of HTTP that the protocol uses.

use std::time::Duration;

use crate::values::answer_problem::AnswerProblem;
use crate::values::cause::RequestError;

/// The meaning of a reply to its action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Classification {
    /// Created, present, or deleted.
    Confirmed,
    /// Refused, absent, or nothing to delete. The request was not applied.
    Denied,
    /// The request was not sent, so it was not applied.
    NotSent,
    /// The request may have been applied, or a check gave no answer.
    Ambiguous,
    /// A check found the group between two states, such as a namespace that is being deleted.
    Changing,
}

/// A reply with its meaning for the protocol.
#[derive(Debug, Clone)]
pub(crate) struct ClassifiedReply {
    pub(crate) classification: Classification,
    /// Whether a retry may succeed.
    pub(crate) transient: bool,
    pub(crate) status: Option<u16>,
    /// The problem of an answer, if its status alone does not explain its classification.
    pub(crate) problem: Option<AnswerProblem>,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) error: Option<RequestError>,
}

impl ClassifiedReply {
    /// Whether the request may have been applied, or may be applied later.
    pub(crate) fn is_ambiguous(&self) -> bool {
        let answered_for_good = matches!(self.status, Some(400..=499)) && !self.transient;
        self.classification == Classification::Ambiguous && !answered_for_good
    }

    /// Whether the request may take effect later. A node has ended its work when it answers. A lost connection and a
    /// gateway's answer prove no such end: 502, 504, or a status above the registered ones, such as 524 of Cloudflare.
    pub(crate) fn may_land_late(&self) -> bool {
        self.is_ambiguous() && matches!(self.status, None | Some(502 | 504 | 512..))
    }

    /// Whether the host has promised the effect for later: 202 (RFC 9110, 15.3.3). A mapping may list it as a success.
    pub(crate) fn is_promise(&self) -> bool {
        self.status == Some(202)
    }

    /// Whether the host answered with a status that is neither a success nor a definite no.
    pub(crate) fn is_refused(&self) -> bool {
        self.classification == Classification::Ambiguous && self.status.is_some()
    }

    /// A request without an answer.
    pub(crate) fn failed(classification: Classification, error: RequestError) -> Self {
        ClassifiedReply {
            classification,
            transient: true,
            status: None,
            problem: None,
            retry_after: None,
            error: Some(error),
        }
    }
}
