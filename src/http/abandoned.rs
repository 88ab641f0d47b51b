//! Floor 2: bytes that the server has not acknowledged when their request is given up, or when this process dies.

use std::time::Duration;

#[cfg(unix)]
use std::os::fd::AsFd;

/// Time after which the system discards unacknowledged bytes. It counts from its first repetition, a second or so after the
/// write, and a packet that waits for the address of the next machine waits for 3 s more. Together, that is less than the
/// shortest settle time that is the default: 10 s.
#[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "other systems have no such option"))]
const LONGEST_UNACKNOWLEDGED: Duration = Duration::from_secs(5);

/// Lets the close of a connection discard what the server has not acknowledged. Otherwise the system goes on sending it for
/// minutes: a POST into a network that was cut would arrive after the cut, when nobody expects it any more.
#[cfg(unix)]
pub(crate) fn discard_unsent(socket: &impl AsFd) {
    // The socket is closed next, so an error changes nothing.
    let _ = socket2::SockRef::from(socket).set_linger(Some(Duration::ZERO));
}

#[cfg(not(unix))]
pub(crate) fn discard_unsent<T>(_: &T) {}

/// Lets the system discard what the server does not acknowledge for [`LONGEST_UNACKNOWLEDGED`], even after the death of
/// this process (`TCP_USER_TIMEOUT`, RFC 5482). Other systems than Linux go on sending.
#[cfg(target_os = "linux")]
pub(crate) fn bound_unsent(socket: &impl AsFd) {
    // Without it, only the promise for a killed process in a cut network is weaker.
    let _ = socket2::SockRef::from(socket).set_tcp_user_timeout(Some(LONGEST_UNACKNOWLEDGED));
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn bound_unsent<T>(_: &T) {}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn unacknowledged_bytes_are_bounded_in_time() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        bound_unsent(&stream);
        assert_eq!(socket2::SockRef::from(&stream).tcp_user_timeout().unwrap(), Some(LONGEST_UNACKNOWLEDGED));
    }
}
