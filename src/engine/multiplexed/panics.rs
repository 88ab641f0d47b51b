//! Turns panics of the crates that parse the bytes of a server into errors.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::values::cause::{RequestError, RequestErrorKind as Kind};

/// Runs code of such a crate. After a panic the caller drops the connection, and with it the state of that crate.
pub(super) fn caught<T>(run: impl FnOnce() -> T) -> io::Result<T> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|_| io::Error::other("the code that reads the answer panicked"))
}

/// Returns the error to report for a panic that [`caught`] has found.
pub(super) fn panicked(error: io::Error) -> RequestError {
    RequestError::new(Kind::Internal, "the request panicked").caused_by(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panic_while_reading_an_answer_is_an_error() {
        assert!(caught(|| panic!("as planned")).is_err());
        assert_eq!(caught(|| 7).unwrap(), 7);
    }
}
