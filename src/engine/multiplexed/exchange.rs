//! Drives one exchange from its start to its completion, over all its attempts.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use mio::net::TcpStream;
use mio::{Interest, Token};

use super::answer::{AnswerReader, Progress};
use super::in_flight::InFlight;
use super::lookups::Start;
use super::panics::{caught, panicked};
use super::slots::{Connection, Phase, is_quiet};
use super::stream::Stream;
use super::{Multiplexed, READS, request};
use crate::api::Reply;
use crate::engine::{Completion, Engine as _, Exchange};
use crate::http::abandoned::bound_unsent;
use crate::http::{DRAIN, MAX_IDLE, errors, headers};
use crate::values::cause::{RequestError, RequestErrorKind as Kind, is_exhausted};
use crate::values::usage::Usage;

/// An attempt that failed.
struct Failure {
    error: RequestError,
    sent: bool,
    /// The server may have closed an idle connection before it saw the request.
    maybe_stale: bool,
    /// There was no connection.
    is_unconnected: bool,
}

impl Failure {
    fn not_sent(error: RequestError) -> Self {
        Failure { error, sent: false, maybe_stale: false, is_unconnected: true }
    }
}

impl Multiplexed {
    /// Sends the request over an idle connection, or begins to open one.
    pub(super) fn start(&mut self, exchange: Box<InFlight>) {
        let number = exchange.exchange.host;
        if number >= self.hosts.len() {
            return self.fail(exchange, Failure::not_sent(errors::no_such_host()));
        }
        if self.now >= exchange.deadline {
            let timeout = exchange.exchange.timeout;
            return self.fail(exchange, Failure::not_sent(errors::not_connected(None, timeout)));
        }
        if exchange.exchange.not_after.is_some_and(|end| exchange.deadline > end) {
            let failure = Failure { is_unconnected: false, ..Failure::not_sent(errors::outlasts_claim()) };
            return self.fail(exchange, failure);
        }
        if !exchange.needs_fresh
            && let Some(slot) = self.pop_idle(number)
        {
            return self.send(slot, exchange, false);
        }
        if !self.may_open() {
            return self.parked.push(exchange);
        }
        match self.hosts[number].dialled().addresses() {
            Ok(addresses) => self.connect(exchange, addresses.into_iter(), None),
            Err(name) => match self.lookups.start(Arc::clone(name), exchange) {
                Start::Waits => {}
                Start::Failed(exchange, error) => self.fail(exchange, Failure::not_sent(error)),
            },
        }
    }

    /// Continues the exchanges whose look-up has ended.
    pub(super) fn take_found(&mut self) {
        for (exchange, found) in self.lookups.take_ended(self.now) {
            match found {
                Ok(_) if !self.may_open() => self.parked.push(exchange),
                Ok(found) => {
                    let addresses = self.hosts[exchange.exchange.host].dialled().with_port(found);
                    self.connect(exchange, addresses.into_iter(), None);
                }
                Err(error) => self.fail(exchange, Failure::not_sent(error)),
            }
        }
    }

    /// Begins to connect to the next address that does not fail at once. Each address gets a share of the time left, so
    /// a silent address leaves time for the others.
    fn connect(
        &mut self,
        exchange: Box<InFlight>,
        mut addresses: std::vec::IntoIter<SocketAddr>,
        mut last: Option<io::Error>,
    ) {
        let timeout = exchange.exchange.timeout;
        loop {
            let left = exchange.deadline.saturating_duration_since(self.now);
            let count = u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
            let Some(address) = addresses.next().filter(|_| !left.is_zero()) else {
                return self.fail(exchange, Failure::not_sent(errors::not_connected(last, timeout)));
            };
            if self.open() >= self.most {
                self.close_one_idle();
            }
            let slot = self.free.last().copied().unwrap_or(self.connections.len());
            let opened = self.poll().and_then(|poll| {
                let mut socket = TcpStream::connect(address)?;
                let interest = Interest::READABLE | Interest::WRITABLE;
                poll.registry().register(&mut socket, Token(slot), interest)?;
                Ok(socket)
            });
            match opened {
                Ok(socket) => {
                    let host = exchange.exchange.host;
                    let slot = self.insert(Connection {
                        stream: Stream::new(socket),
                        host,
                        phase: Phase::Connecting { address, next: addresses },
                        exchange: Some(exchange),
                        reader: None,
                        input: Vec::new(),
                        is_fresh: true,
                        received: false,
                        deadline: None,
                        scheduled: None,
                    });
                    return self.set_deadline(slot, self.now + left / count);
                }
                Err(e) if is_exhausted(&e) => {
                    return self.fail(exchange, Failure::not_sent(errors::no_descriptor(e)));
                }
                Err(e) => last = Some(e),
            }
        }
    }

    /// Continues if the connection is established, or tries the next address if it failed.
    pub(super) fn check_connect(&mut self, slot: usize) {
        let Some(connection) = self.connections[slot].as_mut() else { return };
        let Phase::Connecting { address, .. } = connection.phase else { return };
        let is_late = connection.exchange.as_ref().is_some_and(|exchange| exchange.deadline <= self.now);
        match is_connected(connection.stream.socket(), address) {
            Ok(false) => {}
            // Nothing is sent after the deadline.
            Ok(true) if is_late => self.connect_next(slot, io::ErrorKind::TimedOut.into()),
            Ok(true) => self.connected(slot),
            Err(e) => self.connect_next(slot, e),
        }
    }

    fn connect_next(&mut self, slot: usize, error: io::Error) {
        let Some(connection) = self.close(slot) else { return };
        if let (Some(exchange), Phase::Connecting { next, .. }) = (connection.exchange, connection.phase) {
            drop(connection.stream);
            self.connect(exchange, next, Some(error));
        }
    }

    fn connected(&mut self, slot: usize) {
        let Some(connection) = self.connections[slot].as_mut() else { return };
        let _ = connection.stream.socket().set_nodelay(true);
        bound_unsent(connection.stream.socket());
        let Some(exchange) = connection.exchange.take() else { return };
        #[cfg(feature = "rustls")]
        if self.hosts[connection.host].host.is_https() {
            return match self.hosts[connection.host].proxy.clone() {
                Some(proxy) => self.begin_tunnel(slot, exchange, &proxy),
                None => self.secure(slot, exchange),
            };
        }
        self.send(slot, exchange, true);
    }

    #[cfg(feature = "rustls")]
    pub(super) fn secure(&mut self, slot: usize, exchange: Box<InFlight>) {
        let Some(connection) = self.connections[slot].as_mut() else { return };
        connection.phase = Phase::Securing;
        let deadline = exchange.deadline;
        connection.exchange = Some(exchange);
        let host = &self.hosts[connection.host].host;
        match caught(|| self.network.tls.session(host)).map_err(panicked).flatten() {
            Ok(session) => {
                connection.stream.secure(session);
                self.set_deadline(slot, deadline);
                self.shake_hands(slot);
            }
            Err(error) => self.attempt_failed(slot, error),
        }
    }

    #[cfg(feature = "rustls")]
    pub(super) fn shake_hands(&mut self, slot: usize) {
        let Some(connection) = self.connections[slot].as_mut() else { return };
        let is_late = connection.exchange.as_ref().is_some_and(|exchange| exchange.deadline <= self.now);
        match caught(|| connection.stream.shake_hands()).flatten() {
            Ok(false) => {}
            // Nothing is sent after the deadline.
            Ok(true) if is_late => self.time_is_over(slot),
            Ok(true) => {
                if let Some(exchange) = connection.exchange.take() {
                    self.send(slot, exchange, true);
                }
            }
            Err(e) => self.attempt_failed(slot, broken(e)),
        }
    }

    /// Sends the request on a connection that is ready for it.
    fn send(&mut self, slot: usize, exchange: Box<InFlight>, is_fresh: bool) {
        let Some(connection) = self.connections[slot].as_mut() else { return };
        let Exchange { request, credentials, .. } = &exchange.exchange;
        self.output.clear();
        let host = &self.hosts[connection.host];
        let destination = host.destination(&request.path, exchange.redirected.as_deref());
        let written = request::append(destination, request, &host.additions(credentials), &mut self.output);
        let reader = written.and_then(|()| caught(|| AnswerReader::to(request)).ok().flatten());
        if reader.is_none() {
            drop(self.close(slot));
            return self.fail(exchange, Failure::not_sent(errors::not_written()));
        }
        connection.phase = Phase::Sending;
        connection.reader = reader;
        connection.is_fresh = is_fresh;
        connection.received = false;
        let deadline = exchange.deadline;
        // The process may have been stopped since the engine read the clock.
        let is_late = exchange.exchange.not_after.is_some() && Instant::now() >= deadline;
        connection.exchange = Some(exchange);
        if is_late {
            return self.time_is_over(slot);
        }
        let gone = caught(|| connection.stream.send(&self.output)).flatten();
        self.set_deadline(slot, deadline);
        self.after_send(slot, gone);
    }

    pub(super) fn after_send(&mut self, slot: usize, gone: io::Result<bool>) {
        let Some(connection) = self.connections[slot].as_mut() else { return };
        match gone {
            Ok(false) => connection.phase = Phase::Sending,
            Ok(true) => {
                connection.phase = Phase::Receiving;
                // If nothing is readable yet, an event follows when the answer arrives.
                if connection.stream.is_readable() {
                    self.receive(slot);
                }
            }
            Err(e) => self.attempt_failed(slot, broken(e)),
        }
    }

    /// Reads the bytes of the answer that have arrived.
    pub(super) fn receive(&mut self, slot: usize) {
        for _ in 0..READS {
            let Some(connection) = self.connections[slot].as_mut() else { return };
            // Read an early answer only after the whole request is sent.
            let (Phase::Receiving, Some(reader)) = (&connection.phase, connection.reader.as_mut()) else { return };
            let read = match caught(|| connection.stream.read(&mut self.input)).flatten() {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) if reader.has_head() => return self.finish(slot, false),
                Err(e) => return self.attempt_failed(slot, broken(e)),
                Ok(0) => {
                    return match reader.end(&connection.input) {
                        Ok(()) => self.finish(slot, false),
                        Err(error) => self.attempt_failed(slot, error),
                    };
                }
                Ok(read) => read,
            };
            connection.received = true;
            let had_head = reader.has_head();
            let kept = !connection.input.is_empty();
            if kept {
                connection.input.extend_from_slice(&self.input[..read]);
            }
            let bytes = if kept { &connection.input[..] } else { &self.input[..read] };
            let fed = caught(|| reader.feed(bytes, &mut self.decoded));
            let (used, progress) = match fed.map_err(panicked).flatten() {
                Ok(fed) => fed,
                Err(error) => return self.attempt_failed(slot, error),
            };
            let drains = !had_head && reader.has_head() && !reader.needs_body();
            if kept {
                connection.input.drain(..used);
            } else {
                connection.input.extend_from_slice(&self.input[used..read]);
            }
            match progress {
                Progress::Complete { reusable } => return self.finish(slot, reusable),
                Progress::NeedsInput if drains => self.shorten_deadline(slot, self.now + DRAIN),
                Progress::NeedsInput => {}
            }
        }
        self.unread.push(slot);
    }

    /// Completes the exchange with its answer, or follows a redirect once.
    fn finish(&mut self, slot: usize, reusable: bool) {
        let Some(connection) = self.connections[slot].as_mut() else { return };
        let answer = connection.reader.as_mut().and_then(AnswerReader::take_answer);
        connection.reader = None;
        let exchange = connection.exchange.take();
        let traffic = connection.stream.traffic();
        self.recycle(slot, reusable);
        let (Some(mut exchange), Some(answer)) = (exchange, answer) else { return };
        exchange.traffic += traffic;
        if exchange.redirected.is_none()
            && matches!(answer.status, 307 | 308)
            && let Some(location) = &answer.location
            && let Some(url) = headers::same_origin(&self.hosts[exchange.exchange.host].host, location)
        {
            exchange.redirected = Some(self.hosts[exchange.exchange.host].path_of(&url));
            exchange.has_left = true;
            exchange.needs_fresh = false;
            return self.submitted.push_front(exchange);
        }
        let reply = Reply::Answered { status: answer.status, retry_after: answer.retry_after, body: answer.body };
        self.complete(&exchange, reply);
    }

    /// Keeps the connection for the next request, or closes it.
    fn recycle(&mut self, slot: usize, reusable: bool) {
        let has_room = self.network.limit.has_room();
        let Some(connection) = self.connections[slot].as_mut() else { return };
        let host = &mut self.hosts[connection.host];
        let keep = reusable && has_room && connection.input.is_empty() && host.idle_count() < MAX_IDLE;
        if !keep || !is_quiet(&mut connection.stream, &mut self.input) {
            drop(self.close(slot));
            return;
        }
        connection.phase = Phase::Idle;
        connection.deadline = None;
        connection.input = Vec::new();
        host.push_idle(slot, self.now);
        self.idle += 1;
        let number = connection.host;
        if let Some(expired) = self.hosts[number].pop_expired(self.now) {
            self.idle -= 1;
            drop(self.close(expired));
        }
    }

    /// Closes the connection, and fails the exchange that it carried.
    pub(super) fn attempt_failed(&mut self, slot: usize, error: RequestError) {
        let Some(connection) = self.close(slot) else { return };
        let Some(mut exchange) = connection.exchange else { return };
        let is_secured = matches!(connection.phase, Phase::Sending | Phase::Receiving | Phase::Idle);
        if is_secured {
            exchange.traffic += connection.stream.traffic();
        }
        let timeout = exchange.exchange.timeout;
        let failure = Failure {
            sent: is_secured && connection.stream.has_sent(),
            maybe_stale: is_secured && !connection.is_fresh && !connection.received && error.kind() == Kind::Closed,
            error: match &connection.phase {
                _ if is_secured => error,
                #[cfg(feature = "rustls")]
                Phase::Tunnelling => self.tunnel_error(connection.host, error, timeout),
                _ => errors::during_handshake(error, timeout),
            },
            is_unconnected: false,
        };
        connection.stream.abandon();
        self.fail(exchange, failure);
    }

    /// Handles a connection whose deadline has passed.
    pub(super) fn time_is_over(&mut self, slot: usize) {
        let Some(connection) = self.connections[slot].as_ref() else { return };
        if connection.reader.as_ref().is_some_and(AnswerReader::has_head) {
            return self.finish(slot, false);
        }
        if matches!(connection.phase, Phase::Connecting { .. }) {
            return self.connect_next(slot, io::ErrorKind::TimedOut.into());
        }
        let timeout = connection.exchange.as_ref().map(|exchange| exchange.exchange.timeout).unwrap_or_default();
        let error = errors::out_of_time(connection.stream.has_sent(), timeout);
        self.attempt_failed(slot, error);
    }

    /// Retries if that is harmless, otherwise completes the exchange.
    fn fail(&mut self, mut exchange: Box<InFlight>, mut failure: Failure) {
        // A request that only reads changes nothing, nor does one of which no byte was sent.
        if failure.maybe_stale && (exchange.exchange.only_reads || !failure.sent) {
            exchange.needs_fresh = true;
            exchange.has_left |= failure.sent;
            return self.submitted.push_front(exchange);
        }
        if failure.error.kind() == Kind::Exhausted && !failure.sent {
            if !exchange.has_shed {
                exchange.has_shed = true;
                self.shed_idle_connections();
                return self.submitted.push_front(exchange);
            }
            // Other connections of this engine hold the descriptors. The next close frees one.
            if self.busy() > 0 {
                self.most = self.open();
                return self.parked.push(exchange);
            }
        }
        let sent = failure.sent || exchange.has_left;
        let proxy = self.hosts.get(exchange.exchange.host).and_then(|host| host.proxy.as_ref());
        if let Some(proxy) = proxy.filter(|_| failure.is_unconnected) {
            failure.error = proxy.not_reached(failure.error);
        }
        let reply = if sent { Reply::Ambiguous(failure.error) } else { Reply::NotSent(failure.error) };
        self.complete(&exchange, reply);
    }

    pub(super) fn complete(&mut self, exchange: &InFlight, reply: Reply) {
        let elapsed = self.now.saturating_duration_since(exchange.begun);
        let usage = Usage { elapsed, traffic: exchange.traffic };
        self.completed.push(Completion { id: exchange.exchange.id, reply, usage });
    }
}

/// Returns whether the socket is connected.
///
/// # Errors
/// The reason why the connect failed.
fn is_connected(socket: &TcpStream, address: SocketAddr) -> io::Result<bool> {
    if let Some(error) = socket.take_error()? {
        return Err(error);
    }
    match socket.peer_addr() {
        Ok(_) => {}
        Err(e) if e.kind() == io::ErrorKind::NotConnected => return Ok(false),
        Err(e) => return Err(e),
    }
    // The system may assign the port of `address` to this socket, if it is ephemeral and nothing listens there. The
    // socket is then connected to itself.
    if address.ip().is_loopback() && socket.local_addr()? == address {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    Ok(true)
}

/// Returns the error of a stream that has ended: its own, or that of the socket.
fn broken(error: io::Error) -> RequestError {
    match error.downcast::<RequestError>() {
        Ok(own) => own,
        Err(error) => errors::closed(error),
    }
}
