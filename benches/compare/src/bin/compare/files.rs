//! Maximum number of open files; a child gets the limit of its parent.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::Failure;

/// Raises the soft limit to the hard limit: most systems start with a soft limit that is far below the hard one.
pub(crate) fn raise_limit() -> Result<(), Failure> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    Ok(setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?)
}

pub(crate) fn limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}
