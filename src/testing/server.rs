//! The running node: its listener, its threads, and their end.
//!
//! One mutex guards the state. `changed` is notified after each change of the state. `control` is notified at a stop,
//! at a pause and its end, and for late requests.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{
    connection::{self, Reply},
    fault::{Answer, Apply, Fault, NO_FAULT},
    route::{Call, Paths},
    state::{State, Statuses},
};

/// Stack size of a connection's thread. The default size would take too much address space for many connections.
const STACK: usize = 128 * 1024;

#[derive(Debug)]
pub(super) struct Settings {
    pub(super) paths: Paths,
    pub(super) statuses: Statuses,
    pub(super) latency: Duration,
    pub(super) max_connections: usize,
}

#[derive(Debug)]
pub(super) struct Server {
    pub(super) settings: Settings,
    state: Mutex<State>,
    changed: Condvar,
    control: Condvar,
}

/// The thread that accepts connections. After a stop it returns the listener and the last accepted connection.
pub(super) type Listening = JoinHandle<(TcpListener, Option<TcpStream>)>;

/// Both ends of a connection to the port of a stopped node. While they are open, the system gives the port to no other
/// process, but the node can listen on it again.
pub(super) type Reservation = (TcpStream, TcpStream);

impl Server {
    pub(super) fn new(settings: Settings, state: State) -> Self {
        Self { settings, state: Mutex::new(state), changed: Condvar::new(), control: Condvar::new() }
    }

    /// Locks the state, also after a panic: only a condition of `wait_until` can panic, and it only reads.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notifies the threads in `wait_until` of a change.
    pub(super) fn announce(&self, state: &State) {
        if state.watchers > 0 {
            self.changed.notify_all();
        }
    }

    /// Waits until `condition` holds, at most `timeout`.
    pub(super) fn wait_until(&self, mut condition: impl FnMut(&State) -> bool, timeout: Duration) -> bool {
        let deadline = Instant::now().checked_add(timeout);
        let mut state = self.lock();
        loop {
            if condition(&state) {
                return true;
            }
            let left = match deadline {
                None => Duration::MAX,
                Some(deadline) => deadline.saturating_duration_since(Instant::now()),
            };
            if left.is_zero() {
                return false;
            }
            state.watchers += 1;
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            state.watchers -= 1;
        }
    }

    /// Waits for this time. Returns `None` if the server stops meanwhile.
    fn sleep<'a>(&'a self, state: MutexGuard<'a, State>, time: Duration) -> Option<MutexGuard<'a, State>> {
        if time.is_zero() {
            return Some(state);
        }
        let waited = self.control.wait_timeout_while(state, time, |state| !state.stopped);
        self.wait_open(waited.unwrap_or_else(PoisonError::into_inner).0)
    }

    /// Waits for this time, without a lock. Returns `false` if the server stops meanwhile.
    pub(super) fn pass_time(&self, time: Duration) -> bool {
        self.sleep(self.lock(), time).is_some()
    }

    /// Waits for the end of a pause. Returns `None` if the server stops meanwhile.
    fn wait_open<'a>(&'a self, state: MutexGuard<'a, State>) -> Option<MutexGuard<'a, State>> {
        let waited = self.control.wait_while(state, |state| state.paused && !state.stopped);
        let state = waited.unwrap_or_else(PoisonError::into_inner);
        (!state.stopped).then_some(state)
    }

    pub(super) fn set_paused(&self, paused: bool) {
        self.lock().paused = paused;
        self.control.notify_all();
    }

    /// Logs and applies a request, and returns its answer. Returns `None` if the server stops meanwhile.
    pub(super) fn handle(self: &Arc<Self>, call: &Call, connection: u64) -> Option<(Reply, Option<Fault>)> {
        let mut state = self.wait_open(self.lock())?;
        let (sequence, fault) = state.arrive(call, connection);
        self.announce(&state);
        let plan = fault.as_ref().unwrap_or(&NO_FAULT);
        state = self.sleep(state, self.settings.latency.saturating_add(plan.before))?;
        let mut reply = self.take_effect(&mut state, call, plan, sequence);
        self.announce(&state);
        state = self.sleep(state, plan.after)?;
        match &plan.answer {
            Answer::Status(status) => reply = Reply::injected(*status, None),
            Answer::Redirect(status, location) => {
                reply = Reply::injected(*status, Some(location.clone()));
            }
            _ => {}
        }
        if !matches!(plan.answer, Answer::Drop | Answer::Reset | Answer::Mute | Answer::Raw(_)) {
            state.answered(sequence, reply.status);
            self.announce(&state);
        }
        drop(state);
        Some((reply, fault))
    }

    fn take_effect(self: &Arc<Self>, state: &mut State, call: &Call, plan: &Fault, sequence: u64) -> Reply {
        let outdated = plan.answer == Answer::Stale;
        let (mut status, change) = state.judge(call, outdated, self.settings.statuses);
        if let (Some(change), Some(group)) = (change, &call.group) {
            match plan.apply {
                Apply::Never => {}
                Apply::Now => {
                    if state.apply(sequence, change, group).is_err() {
                        status = 500;
                    }
                }
                Apply::Late(delay) => {
                    if let Some(due) = Instant::now().checked_add(delay) {
                        state.postpone(due, sequence, change, group);
                        self.serve_late(state);
                    }
                }
            }
        }
        Reply::truthful(status, call, state)
    }

    /// Starts the thread for late requests, or notifies it.
    fn serve_late(self: &Arc<Self>, state: &mut State) {
        if state.late_thread {
            self.control.notify_all();
            return;
        }
        let server = Arc::clone(self);
        let spawned =
            thread::Builder::new().name("node late".to_owned()).stack_size(STACK).spawn(move || server.apply_late());
        match spawned {
            Ok(_) => {
                state.late_thread = true;
                state.threads += 1;
            }
            Err(error) => log::warn!("a late request is not applied, no thread for it: {error}"),
        }
    }

    fn apply_late(&self) {
        let mut state = self.lock();
        while !state.stopped {
            if state.paused {
                let waited = self.control.wait(state);
                state = waited.unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let now = Instant::now();
            let Some(next) = state.apply_due(now) else {
                break;
            };
            self.announce(&state);
            let waited = self.control.wait_timeout(state, next.saturating_duration_since(now));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.late_thread = false;
        self.leave(&mut state);
    }

    /// Counts a thread out, as its last step. A stop waits for this.
    fn leave(&self, state: &mut State) {
        state.threads -= 1;
        self.announce(state);
        if state.stopped && state.threads == 0 {
            self.control.notify_all();
        }
    }

    /// Starts to accept connections.
    pub(super) fn open(self: &Arc<Self>, listener: TcpListener) -> io::Result<Listening> {
        {
            let mut state = self.lock();
            state.stopped = false;
            state.paused = false;
        }
        let server = Arc::clone(self);
        thread::Builder::new()
            .name("node listen".to_owned())
            .stack_size(STACK)
            .spawn(move || server.listen(listener))
            .inspect_err(|_| self.lock().stopped = true)
    }

    fn listen(self: &Arc<Self>, listener: TcpListener) -> (TcpListener, Option<TcpStream>) {
        loop {
            let accepted = listener.accept();
            let Some(state) = self.wait_open(self.lock()) else {
                return (listener, accepted.ok().map(|(stream, _)| stream));
            };
            match accepted {
                Ok((stream, _)) => self.admit(state, stream),
                // Probably no descriptor is left, so wait before the next attempt.
                Err(error) => {
                    log::warn!("a connection could not be accepted: {error}");
                    drop(self.sleep(state, Duration::from_millis(10)));
                }
            }
        }
    }

    fn admit(self: &Arc<Self>, mut state: MutexGuard<'_, State>, stream: TcpStream) {
        if state.streams.len() >= self.settings.max_connections {
            drop(state);
            connection::refuse(&stream);
            return;
        }
        state.last_connection += 1;
        state.threads += 1;
        let number = state.last_connection;
        let stream = Arc::new(stream);
        state.streams.insert(number, Arc::clone(&stream));
        self.announce(&state);
        drop(state);

        let guest = Guest { server: Arc::clone(self), number };
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
    pub(super) fn close(&self, address: SocketAddr, listening: Listening) -> Option<Reservation> {
        {
            let mut state = self.lock();
            state.stopped = true;
            state.late.clear();
            for stream in state.streams.values() {
                let _ = stream.shutdown(Shutdown::Both);
            }
            self.announce(&state);
        }
        self.control.notify_all();
        let reservation = wake(reachable(address), listening);
        let state = self.lock();
        let waited = self.control.wait_while(state, |state| state.threads > 0);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
        reservation
    }
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
