//! The listener of a node: it accepts connections, and each gets a thread.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, MutexGuard},
    thread::{self, JoinHandle},
    time::Duration,
};

use super::{
    connection,
    server::{STACK, Server},
    state::NodeState,
};

/// The thread that accepts connections. After a stop it returns the listener and the last accepted connection.
pub(super) type Listening = JoinHandle<(TcpListener, Option<TcpStream>)>;

/// Both ends of a connection to the port of a stopped node. While they are open, the system gives the port to no other
/// process, but the node can listen on it again.
pub(super) type Reservation = (TcpStream, TcpStream);

/// Starts to accept connections.
pub(super) fn open(server: &Arc<Server>, listener: TcpListener) -> io::Result<Listening> {
    {
        let mut state = server.lock();
        state.stopped = false;
        state.paused = false;
    }
    let serving = Arc::clone(server);
    thread::Builder::new()
        .name("node listen".to_owned())
        .stack_size(STACK)
        .spawn(move || listen(&serving, listener))
        .inspect_err(|_| server.lock().stopped = true)
}

fn listen(server: &Arc<Server>, listener: TcpListener) -> (TcpListener, Option<TcpStream>) {
    loop {
        let accepted = listener.accept();
        let Some(state) = server.wait_open(server.lock()) else {
            return (listener, accepted.ok().map(|(stream, _)| stream));
        };
        match accepted {
            Ok((stream, _)) => admit(server, state, stream),
            // Probably no descriptor is left, so wait before the next attempt.
            Err(error) => {
                log::warn!("a connection could not be accepted: {error}");
                drop(server.sleep(state, Duration::from_millis(10)));
            }
        }
    }
}

fn admit(server: &Arc<Server>, mut state: MutexGuard<'_, NodeState>, stream: TcpStream) {
    if state.streams.len() >= server.settings.max_connections {
        drop(state);
        connection::refuse(&stream);
        return;
    }
    state.last_connection += 1;
    state.threads += 1;
    let number = state.last_connection;
    let stream = Arc::new(stream);
    state.streams.insert(number, Arc::clone(&stream));
    server.announce(&state);
    drop(state);

    let guest = Guest { server: Arc::clone(server), number };
    let spawned = thread::Builder::new().stack_size(STACK).spawn(move || {
        let guest = guest;
        connection::serve(&guest.server, &stream, guest.number);
        // The guest has the other handle, and its drop closes the connection.
        drop(stream);
    });
    if let Err(error) = spawned {
        log::warn!("a connection is closed, no thread for it: {error}");
    }
}

/// Ends every connection and thread. No request is applied or answered from the start of this call.
pub(super) fn close(server: &Server, address: SocketAddr, listening: Listening) -> Option<Reservation> {
    server.stop();
    let reservation = wake(reachable(address), listening);
    server.wait_for_threads();
    reservation
}

/// Removes a connection from the state when its thread ends, also by a panic.
struct Guest {
    server: Arc<Server>,
    number: u64,
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut state = self.server.lock();
        drop(state.streams.remove(&self.number));
        self.server.leave(&mut state);
    }
}

/// The address at which this process can reach a listener on this address.
pub(super) fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

/// Ends the accepting thread by a connection to it, and closes the listener.
fn wake(address: SocketAddr, listening: Listening) -> Option<Reservation> {
    let ours = loop {
        match TcpStream::connect_timeout(&address, Duration::from_millis(50)) {
            Ok(stream) => break Some(stream),
            // A full backlog or no free descriptor: the thread may have ended by itself.
            Err(_) if listening.is_finished() => break None,
            Err(_) => thread::yield_now(),
        }
    };
    let (listener, last) = listening.join().ok()?;
    let ours = ours?;
    let name = ours.local_addr().ok()?;
    listener.set_nonblocking(true).ok()?;
    let mut accepted = last;
    loop {
        match accepted {
            Some(stream) if stream.peer_addr().is_ok_and(|peer| peer == name) => {
                return Some((ours, stream));
            }
            _ => accepted = Some(listener.accept().ok()?.0),
        }
    }
}
