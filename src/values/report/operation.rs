//! The kind of an operation, its id, and the state that a repair drives to.

use std::fmt;

/// The kind of an operation.
///
/// ```
/// use cluster_client::{Operation, Target};
///
/// assert_eq!(Operation::Repair(Target::Absent).to_string(), "repair");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// Create the group on every host, or on none.
    Create,
    /// Delete the group from every host.
    Delete,
    /// Check every host.
    Status,
    /// Drive every host to the wanted state, forward only.
    Repair(Target),
    /// Settle an unfinished operation.
    Recover,
    /// Remove a host from an unfinished operation. Nothing is sent.
    Forget,
}

impl Operation {
    /// The word in JSON and in logs: `create`, `delete`, `status`, `repair`, `recover` or `forget`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Operation::Create => "create",
            Operation::Delete => "delete",
            Operation::Status => "status",
            Operation::Repair(_) => "repair",
            Operation::Recover => "recover",
            Operation::Forget => "forget",
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The id of an operation, in all its events and in its report. It is random, so that ids in the logs of many processes
/// are unlikely to be equal.
///
/// `Display` is 16 hexadecimal digits.
///
/// ```
/// use cluster_client::OperationId;
///
/// assert_eq!(OperationId::new(255).to_string(), "00000000000000ff");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct OperationId(u64);

impl OperationId {
    /// The id with this number.
    pub const fn new(number: u64) -> Self {
        OperationId(number)
    }

    /// The id as a number.
    pub const fn as_u64(self) -> u64 {
        self.0
    }
}

impl fmt::Display for OperationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The state that a repair drives every host to.
///
/// ```
/// use cluster_client::Target;
///
/// assert_eq!(Target::Present.as_str(), "present");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "a host has the group or it does not")]
pub enum Target {
    /// Every host has the group.
    Present,
    /// No host has the group.
    Absent,
}

impl Target {
    /// The word in JSON and on the command line: `present` or `absent`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Target::Present => "present",
            Target::Absent => "absent",
        }
    }
}
