//! The tunnel through a proxy to an https host. The TLS handshake begins when it is open.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::Multiplexed;
use super::in_flight::InFlight;
use super::panics::caught;
use super::slots::Phase;
use crate::http::errors;
use crate::http::proxy::Proxy;
use crate::values::cause::{RequestError, RequestErrorKind as Kind};

impl Multiplexed {
    /// Asks the proxy for a tunnel to the host of the connection.
    pub(super) fn begin_tunnel(&mut self, slot: usize, exchange: Box<InFlight>, proxy: &Arc<Proxy>) {
        let Some(connection) = self.connections[slot].as_mut() else { return };
        let request = proxy.connect_request(&self.hosts[connection.host].host);
        let deadline = exchange.deadline;
        connection.phase = Phase::Tunnelling;
        connection.exchange = Some(exchange);
        let gone = caught(|| connection.stream.send(&request)).flatten();
        self.set_deadline(slot, deadline);
        match gone {
            Ok(_) => self.continue_tunnel(slot),
            Err(e) => self.attempt_failed(slot, errors::closed(e)),
        }
    }

    /// Reads the answer of the proxy.
    pub(super) fn continue_tunnel(&mut self, slot: usize) {
        // The number of bytes that the proxy may send is bounded.
        loop {
            let Some(connection) = self.connections[slot].as_mut() else { return };
            let Some(proxy) = self.hosts[connection.host].proxy.clone() else { return };
            let flushed = caught(|| connection.stream.flush()).flatten();
            let read = flushed.and_then(|_| caught(|| connection.stream.read(&mut self.input)).flatten());
            let amount = match read {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                Err(e) => return self.attempt_failed(slot, errors::closed(e)),
                Ok(0) => return self.attempt_failed(slot, errors::closed(io::ErrorKind::UnexpectedEof.into())),
                Ok(amount) => amount,
            };
            connection.input.extend_from_slice(&self.input[..amount]);
            match proxy.is_tunnel_open(&connection.input) {
                None => {}
                Some(Err(error)) => return self.attempt_failed(slot, error),
                Some(Ok(())) => {
                    connection.input = Vec::new();
                    let is_late = connection.exchange.as_ref().is_some_and(|exchange| exchange.deadline <= self.now);
                    match connection.exchange.take() {
                        // Nothing is sent after the deadline.
                        Some(exchange) if is_late => {
                            connection.exchange = Some(exchange);
                            self.time_is_over(slot);
                        }
                        Some(exchange) => self.secure(slot, exchange),
                        None => {}
                    }
                    return;
                }
            }
        }
    }

    /// Names the proxy in the error of a tunnel. Errors that name it already are kept.
    pub(super) fn tunnel_error(&self, host: usize, error: RequestError, timeout: Duration) -> RequestError {
        match &self.hosts[host].proxy {
            Some(proxy) if error.kind() != Kind::Connect => proxy.no_tunnel(error, timeout),
            _ => error,
        }
    }
}
