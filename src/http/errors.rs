//! Errors between the client and a server. Their texts contain neither URL nor address.

use std::io;
use std::time::Duration;

use super::MAX_HEAD;
use crate::values::cause::{RequestError, RequestErrorKind as Kind};

pub(crate) fn not_connected(cause: Option<io::Error>, timeout: Duration) -> RequestError {
    let timed_out = || RequestError::new(Kind::Connect, format!("no connection within {:?}", rounded(timeout)));
    let Some(cause) = cause else { return timed_out() };
    match cause.kind() {
        io::ErrorKind::TimedOut => timed_out(),
        io::ErrorKind::ConnectionRefused => RequestError::new(Kind::Connect, "connection refused"),
        io::ErrorKind::HostUnreachable => RequestError::new(Kind::Connect, "the host is unreachable"),
        io::ErrorKind::NetworkUnreachable => RequestError::new(Kind::Connect, "the network is unreachable"),
        _ => RequestError::new(Kind::Connect, "no connection"),
    }
    .caused_by(cause)
}

pub(crate) fn no_descriptor(cause: io::Error) -> RequestError {
    RequestError::new(Kind::Exhausted, "no file descriptor for a connection").caused_by(cause)
}

pub(crate) fn closed(cause: io::Error) -> RequestError {
    RequestError::new(Kind::Closed, "the connection was closed before the answer").caused_by(cause)
}

pub(crate) fn out_of_time(sent: bool, timeout: Duration) -> RequestError {
    let timeout = rounded(timeout);
    let message = if sent {
        format!("no answer within {timeout:?}")
    } else {
        format!("the request could not be sent within {timeout:?}")
    };
    RequestError::new(Kind::Timeout, message)
}

/// Returns a timeout for a person, who has no use for nanoseconds. The rest of an operation's time may be the timeout of a
/// request.
fn rounded(timeout: Duration) -> Duration {
    let unit = if timeout < Duration::from_secs(1) { 1_000_000 } else { 100_000_000 };
    let units = timeout.as_nanos().div_ceil(unit);
    Duration::from_nanos(u64::try_from(units * unit).unwrap_or(u64::MAX))
}

/// Returns the error to report for an `error` before the end of the TLS handshake.
pub(crate) fn during_handshake(error: RequestError, timeout: Duration) -> RequestError {
    let message = match error.kind() {
        Kind::Tls => return error,
        Kind::Timeout => format!("no TLS connection within {:?}", rounded(timeout)),
        Kind::Closed => "the connection was closed during the TLS handshake".into(),
        _ => "the TLS handshake failed".into(),
    };
    RequestError::new(Kind::Tls, message).caused_by(error)
}

pub(crate) fn not_http(cause: impl std::error::Error + Send + Sync + 'static) -> RequestError {
    RequestError::new(Kind::Garbage, "the answer is not HTTP").caused_by(cause)
}

pub(crate) fn head_too_large() -> RequestError {
    RequestError::new(Kind::Garbage, format!("the head of the answer is larger than {MAX_HEAD} bytes"))
}

pub(crate) fn odd_status(status: u16) -> RequestError {
    RequestError::new(Kind::Garbage, format!("the answer has the status {status}"))
}

pub(crate) fn not_written() -> RequestError {
    RequestError::new(Kind::Internal, "the request could not be written")
}

pub(crate) fn withdrawn() -> RequestError {
    RequestError::new(Kind::GivenUp, "the operation was stopped before the request began")
}

pub(crate) fn outlasts_claim() -> RequestError {
    RequestError::new(Kind::GivenUp, "the request would outlast the claim on the group")
}

pub(crate) fn no_such_host() -> RequestError {
    RequestError::new(Kind::Internal, "there is no host of that number")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeout_is_shown_in_whole_milliseconds_or_tenths_of_a_second() {
        let shown = |nanos| out_of_time(true, Duration::from_nanos(nanos)).to_string();
        assert_eq!(shown(1_129_424_662), "no answer within 1.2s");
        assert_eq!(shown(150_000_000), "no answer within 150ms");
        assert_eq!(shown(1_500_001), "no answer within 2ms");
        assert_eq!(shown(10_000_000_000), "no answer within 10s");
        assert_eq!(shown(u64::MAX), "no answer within 18446744073.709551615s");
    }
}
