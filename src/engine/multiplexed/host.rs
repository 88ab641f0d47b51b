//! One host: where its requests are sent, and its idle connections.

use std::sync::Arc;
use std::time::Instant;

use super::request::Destination;
use crate::http::MAX_IDLE_AGE;
use crate::http::additions::HeadAdditions;
use crate::http::credentials::HeaderLines;
use crate::http::proxy::Proxy;
use crate::http::resolver::Target;
use crate::values::host::Host;

/// One host of an engine.
#[derive(Debug)]
pub(super) struct HttpHost {
    pub(super) host: Host,
    pub(super) target: Target,
    pub(super) proxy: Option<Arc<Proxy>>,
    /// Scheme and authority, before the path of a request to a proxy. Absent for https, which goes through a tunnel.
    absolute: Option<Arc<str>>,
    /// Slots of idle connections, each with the time of its last use, in this order.
    idle: Vec<(usize, Instant)>,
}

impl HttpHost {
    /// Creates a host, which may be reached through `proxy`.
    pub(super) fn new(host: &Host, proxy: Option<&Arc<Proxy>>) -> Self {
        let proxy = Proxy::of(proxy, host);
        HttpHost {
            host: host.clone(),
            target: Target::of(host),
            absolute: proxy.as_ref().filter(|_| !host.is_https()).map(|_| host.origin().into()),
            proxy,
            idle: Vec::new(),
        }
    }

    /// Returns the address or name to connect to: that of the proxy, or that of the host.
    pub(super) fn dialled(&self) -> &Target {
        self.proxy.as_ref().map_or(&self.target, |proxy| &proxy.target)
    }

    /// Returns what is added to the head of a request with these credentials.
    pub(super) fn additions(&self, credentials: &HeaderLines) -> HeadAdditions {
        let proxy = self.proxy.as_ref().filter(|_| self.absolute.is_some());
        HeadAdditions {
            origin: self.absolute.clone(),
            credentials: credentials.clone(),
            proxy: proxy.map(|proxy| proxy.lines()).unwrap_or_default(),
        }
    }

    /// Returns where to send a request with this path, or with the whole path after a redirect.
    pub(super) fn destination<'a>(&'a self, path: &'a str, redirected: Option<&'a str>) -> Destination<'a> {
        let path = redirected.map_or([self.host.path(), path], |whole| ["", whole]);
        Destination { authority: self.host.authority(), path }
    }

    /// Returns the path of a URL of this host.
    pub(super) fn path_of(&self, url: &str) -> String {
        let path = url.strip_prefix(self.host.origin()).unwrap_or_default();
        if path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
    }

    pub(super) fn idle_count(&self) -> usize {
        self.idle.len()
    }

    pub(super) fn push_idle(&mut self, slot: usize, now: Instant) {
        self.idle.push((slot, now));
    }

    /// Removes the idle connection that was used last.
    pub(super) fn pop_idle(&mut self) -> Option<usize> {
        self.idle.pop().map(|(slot, _)| slot)
    }

    /// Removes an idle connection that is too old.
    pub(super) fn pop_expired(&mut self, now: Instant) -> Option<usize> {
        let (slot, since) = *self.idle.first()?;
        if now.saturating_duration_since(since) < MAX_IDLE_AGE {
            return None;
        }
        self.idle.remove(0);
        Some(slot)
    }

    pub(super) fn remove_idle(&mut self, slot: usize) {
        self.idle.retain(|(idle, _)| *idle != slot);
    }
}
