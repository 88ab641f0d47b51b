//! Table of connections: slots, idle connections, and the timer of each.

use std::cmp::Reverse;
use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use super::Multiplexed;
use super::answer::AnswerReader;
use super::in_flight::InFlight;
use super::panics::caught;
use super::stream::Stream;

pub(super) struct Connection {
    pub(super) stream: Stream,
    pub(super) host: usize,
    pub(super) phase: Phase,
    pub(super) exchange: Option<Box<InFlight>>,
    pub(super) reader: Option<AnswerReader>,
    /// Bytes of the answer that the reader has not consumed.
    pub(super) input: Vec<u8>,
    /// The exchange opened this connection.
    pub(super) is_fresh: bool,
    /// At least one byte came back after the request.
    pub(super) received: bool,
    /// End of the phase.
    pub(super) deadline: Option<Instant>,
    /// The time of this connection's entry in the heap of timers.
    pub(super) scheduled: Option<Instant>,
}

pub(super) enum Phase {
    Connecting {
        address: SocketAddr,
        /// Addresses to try next.
        next: std::vec::IntoIter<SocketAddr>,
    },
    /// Asks the proxy for a tunnel.
    #[cfg(feature = "rustls")]
    Tunnelling,
    /// The TLS handshake.
    #[cfg(feature = "rustls")]
    Securing,
    /// A part of the request is not sent yet.
    Sending,
    Receiving,
    Idle,
}

impl Multiplexed {
    pub(super) fn insert(&mut self, connection: Connection) -> usize {
        self.network.limit.opened();
        let slot = self.free.pop().unwrap_or_else(|| {
            self.connections.push(None);
            self.connections.len() - 1
        });
        self.connections[slot] = Some(Box::new(connection));
        slot
    }

    /// Frees the slot. The socket closes when the connection is dropped.
    pub(super) fn close(&mut self, slot: usize) -> Option<Connection> {
        let connection = self.connections[slot].take()?;
        self.free.push(slot);
        self.network.limit.closed();
        Some(*connection)
    }

    pub(super) fn pop_idle(&mut self, host: usize) -> Option<usize> {
        while let Some(expired) = self.hosts[host].pop_expired(self.now) {
            self.idle -= 1;
            drop(self.close(expired));
        }
        let slot = self.hosts[host].pop_idle()?;
        self.idle -= 1;
        Some(slot)
    }

    pub(super) fn close_idle(&mut self, slot: usize) {
        if let Some(connection) = self.close(slot) {
            self.hosts[connection.host].remove_idle(slot);
            self.idle -= 1;
        }
    }

    pub(super) fn close_all_idle(&mut self) {
        for host in 0..self.hosts.len() {
            while let Some(slot) = self.hosts[host].pop_idle() {
                self.idle -= 1;
                drop(self.close(slot));
            }
        }
    }

    /// Closes one idle connection of any host.
    pub(super) fn close_one_idle(&mut self) {
        for _ in 0..self.hosts.len() {
            let host = self.next_victim % self.hosts.len();
            if let Some(slot) = self.hosts[host].pop_idle() {
                self.idle -= 1;
                drop(self.close(slot));
                return;
            }
            self.next_victim = host + 1;
        }
    }

    pub(super) fn open(&self) -> usize {
        self.connections.len() - self.free.len()
    }

    pub(super) fn busy(&self) -> usize {
        self.open() - self.idle
    }

    /// Returns whether another connection may be opened, in place of an idle one if necessary.
    pub(super) fn may_open(&self) -> bool {
        self.busy() < self.most
    }

    pub(super) fn set_deadline(&mut self, slot: usize, deadline: Instant) {
        let Some(connection) = self.connections[slot].as_mut() else { return };
        connection.deadline = Some(deadline);
        if connection.scheduled.is_none_or(|scheduled| deadline < scheduled) {
            connection.scheduled = Some(deadline);
            if self.timers.len() > 64 + 4 * self.connections.len() {
                self.forget_old_timers();
            }
            self.timers.push(Reverse((deadline, slot)));
        }
    }

    /// Drops the entries that are valid for no connection.
    fn forget_old_timers(&mut self) {
        let connections = &self.connections;
        let counts = |&Reverse((due, slot)): &Reverse<(Instant, usize)>| {
            connections[slot].as_ref().is_some_and(|connection| connection.scheduled == Some(due))
        };
        self.timers.retain(counts);
    }

    pub(super) fn shorten_deadline(&mut self, slot: usize, deadline: Instant) {
        let sooner = self.connections[slot].as_ref().and_then(|connection| connection.deadline);
        self.set_deadline(slot, sooner.map_or(deadline, |sooner| sooner.min(deadline)));
    }

    pub(super) fn expire(&mut self) {
        while let Some(&Reverse((due, slot))) = self.timers.peek()
            && due <= self.now
        {
            self.timers.pop();
            let Some(connection) = self.connections[slot].as_mut() else { continue };
            if connection.scheduled != Some(due) {
                continue;
            }
            connection.scheduled = None;
            match connection.deadline {
                Some(deadline) if deadline <= self.now => self.time_is_over(slot),
                Some(deadline) => self.set_deadline(slot, deadline),
                None => {}
            }
        }
    }
}

/// Returns whether the server has neither closed an idle connection nor sent unsolicited bytes.
pub(super) fn is_quiet(stream: &mut Stream, scratch: &mut [u8]) -> bool {
    matches!(caught(|| stream.read(scratch)).flatten(), Err(e) if e.kind() == io::ErrorKind::WouldBlock)
}
