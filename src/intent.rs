//! Floor 1: the durable record that an operation is unfinished, as a value.

use crate::error::StoreError;
use crate::group::GroupId;
use crate::host::Host;

/// The durable record that an operation on a group is unfinished: what it was for, and which hosts are
/// not settled. It exists exactly as long as the operation does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    pub(crate) group: GroupId,
    pub(crate) purpose: Purpose,
    pub(crate) hosts: Vec<Host>,
}

/// What a recovery has to do about an intent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Purpose {
    /// A create: it is rolled back.
    #[non_exhaustive]
    Create {
        /// Whether every host was verified without the group before. Where it was not, nothing on the
        /// hosts is known to be ours, and a recovery only looks.
        was_absent: bool,
    },
    /// A delete: it is finished.
    Delete,
    /// A repair to present: it is finished.
    Present,
}

/// Why a group could not be claimed.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ClaimError {
    /// A living operation holds it; says who, as far as that is known.
    Busy(String),
    /// The store could not be read or written.
    Failed(StoreError),
}
