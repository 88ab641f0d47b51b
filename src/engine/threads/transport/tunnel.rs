//! The tunnel through a proxy to an https host. The TLS handshake begins when it is open.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;

use super::context::{RequestContext, is_only_time};
use crate::http::errors;
use crate::http::proxy::Proxy;
use crate::values::cause::RequestError;
use crate::values::host::Host;

/// Bytes of the answer that are read at a time.
const PIECE: usize = 1024;

/// Asks the proxy at the other end of `stream` for a tunnel to `host`. Blocks within the timeout of the request.
///
/// # Errors
/// If the proxy refuses, closes or does not answer. The error names the proxy.
pub(super) fn open(
    stream: &mut TcpStream,
    proxy: &Proxy,
    host: &Host,
    context: &RequestContext,
) -> Result<(), RequestError> {
    let failed = |error| proxy.no_tunnel(error, context.timeout);
    write(stream, &proxy.connect_request(host), context).map_err(failed)?;
    let (mut received, mut piece) = (Vec::new(), [0; PIECE]);
    loop {
        if let Some(open) = proxy.is_tunnel_open(&received) {
            return open;
        }
        let amount = bounded(context, |left| {
            stream.set_read_timeout(Some(left))?;
            stream.read(&mut piece)
        });
        match amount.map_err(failed)? {
            0 => return Err(failed(errors::closed(io::ErrorKind::UnexpectedEof.into()))),
            amount => received.extend_from_slice(&piece[..amount]),
        }
    }
}

fn write(stream: &mut TcpStream, mut bytes: &[u8], context: &RequestContext) -> Result<(), RequestError> {
    while !bytes.is_empty() {
        let amount = bounded(context, |left| {
            stream.set_write_timeout(Some(left))?;
            stream.write(bytes)
        })?;
        if amount == 0 {
            return Err(errors::closed(io::ErrorKind::WriteZero.into()));
        }
        bytes = &bytes[amount..];
    }
    Ok(())
}

/// Repeats a system call that has only timed out, until the deadline of the request.
fn bounded(
    context: &RequestContext,
    mut call: impl FnMut(std::time::Duration) -> io::Result<usize>,
) -> Result<usize, RequestError> {
    loop {
        let left = context.left().ok_or_else(|| context.out_of_time())?;
        match call(left) {
            Err(e) if is_only_time(&e) => {}
            result => return result.map_err(errors::closed),
        }
    }
}
