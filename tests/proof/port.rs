//! A port of the system whose connections are accepted in their order, until it is dropped.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

pub(crate) struct Port {
    pub(crate) address: SocketAddr,
    closed: Arc<AtomicBool>,
}

impl Port {
    /// Gives each connection to `serve`, which must not wait for it.
    pub(crate) fn open(ip: Ipv4Addr, serve: impl Fn(TcpStream) + Send + 'static) -> io::Result<Self> {
        let listener = TcpListener::bind((ip, 0))?;
        let port = Port { address: listener.local_addr()?, closed: Arc::default() };
        let closed = Arc::clone(&port.closed);
        thread::spawn(move || {
            for client in listener.incoming() {
                if closed.load(Ordering::Relaxed) {
                    return;
                }
                // An error is the end of one connection. The client sees it.
                let _ = client.map(&serve);
            }
        });
        Ok(port)
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
    }
}
