//! Floor 2: a connection that is given up while its request has no answer.

#[cfg(unix)]
use std::os::fd::AsFd;
#[cfg(unix)]
use std::time::Duration;

/// Lets the close of a connection discard what the server has not acknowledged. Otherwise the system goes on sending it for
/// minutes: a POST into a network that was cut would arrive after the cut, when nobody expects it any more.
#[cfg(unix)]
pub(crate) fn discard_unsent(socket: &impl AsFd) {
    // The socket is closed next, so an error changes nothing.
    let _ = socket2::SockRef::from(socket).set_linger(Some(Duration::ZERO));
}

#[cfg(not(unix))]
pub(crate) fn discard_unsent<T>(_: &T) {}
