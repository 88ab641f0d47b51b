//! A connection, with TLS on it if the feature `tls` is on.

#[cfg(not(feature = "tls"))]
pub(crate) use plain::{Stream, Streams};
#[cfg(feature = "tls")]
pub(crate) use secured::{Stream, Streams};

#[cfg(not(feature = "tls"))]
mod plain {
    use std::io;

    use mio::net::TcpStream;

    pub(crate) type Stream = TcpStream;

    pub(crate) struct Streams;

    impl Streams {
        #[expect(clippy::unnecessary_wraps, reason = "the other one reads keys")]
        pub(crate) fn new() -> io::Result<Self> {
            Ok(Streams)
        }

        #[expect(clippy::unnecessary_wraps, clippy::unused_self, reason = "the other one makes a session")]
        pub(crate) fn open(&self, stream: TcpStream) -> io::Result<Stream> {
            Ok(stream)
        }
    }
}

#[cfg(feature = "tls")]
mod secured {
    use std::io::{self, Read, Write};
    use std::sync::Arc;

    use mio::net::TcpStream;
    use rustls::{ServerConfig, ServerConnection};

    pub(crate) struct Streams(Arc<ServerConfig>);

    impl Streams {
        pub(crate) fn new() -> io::Result<Self> {
            cluster_client_compare::tls::server().map(Streams).map_err(io::Error::other)
        }

        pub(crate) fn open(&self, stream: TcpStream) -> io::Result<Stream> {
            let tls = ServerConnection::new(Arc::clone(&self.0)).map_err(io::Error::other)?;
            Ok(Stream { stream, tls: Box::new(tls) })
        }
    }

    pub(crate) struct Stream {
        stream: TcpStream,
        tls: Box<ServerConnection>,
    }

    impl Read for Stream {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            loop {
                match self.tls.reader().read(buffer) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    read => return read,
                }
                let read = self.tls.read_tls(&mut self.stream)?;
                self.tls.process_new_packets().map_err(io::Error::other)?;
                self.flush()?;
                if read == 0 {
                    return Ok(0);
                }
            }
        }
    }

    impl Write for Stream {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let written = self.tls.writer().write(bytes)?;
            self.flush()?;
            Ok(written)
        }

        fn flush(&mut self) -> io::Result<()> {
            while self.tls.wants_write() {
                self.tls.write_tls(&mut self.stream)?;
            }
            Ok(())
        }
    }
}
