//! An embedded node of the group API, with injected faults: for the demo, our tests and yours.
//!
//! A [`Node`] is an HTTP/1.1 server on a real socket inside your process; a [`Cluster`] is several nodes. An injected
//! [`Fault`] or [`Rates`] make them misbehave as real nodes do. Afterwards a test can check which groups a node
//! [has](Node::has), and which requests [arrived](Node::log).
//!
//! | request | answers |
//! | --- | --- |
//! | `POST /v1/group/` with `{"groupId":"g"}` | 201; 400 (or as configured) if it exists |
//! | `GET /v1/group/g/` | 200 or 404 |
//! | `DELETE /v1/group/` with `{"groupId":"g"}` | 200; 404 if absent (both as configured) |
//! | `GET /v1/group/` | 200 and all groups, for people |
//!
//! A malformed body is answered 400, another path 404, another method 405. A head has at most 16 KiB and 64 headers
//! (else 431), a body at most 64 KiB (else 413). Connections are kept alive, requests may be pipelined, and bodies may
//! be chunked.
//!
//! [`journal_conformance`] checks your own [`Journal`](crate::Journal).
//!
//! Do not use a node on the open Internet: there is no TLS and no timeout for idle clients, and each connection has a
//! thread.
//!
//! ```
//! use std::{io::{Read, Write}, net::TcpStream, time::Duration};
//! use cluster_client::testing::{Fault, Method, Node};
//! # fn main() -> std::io::Result<()> {
//! let node = Node::start()?;
//! node.inject(Fault::drop_connection().after_applying().on(Method::Post));
//!
//! let mut client = TcpStream::connect(node.address())?;
//! client.write_all(b"POST /v1/group/ HTTP/1.1\r\nContent-Length: 15\r\n\r\n{\"groupId\":\"g\"}")?;
//! let mut answer = Vec::new();
//! client.read_to_end(&mut answer)?;
//!
//! // The answer was lost, but the group was created.
//! assert!(answer.is_empty());
//! assert!(node.has("g"));
//! # Ok(()) }
//! ```
//
// The floors of this folder, lowest first: json, data_file | route | fault, wire | rates | state | reply | server |
// connection | listener | node and its builder | cluster. `conformance` stands apart: it uses the journal's trait.

mod builder;
mod cluster;
mod conformance;
mod connection;
mod data_file;
mod fault;
mod json;
mod listener;
mod node;
mod rates;
mod reply;
mod route;
mod server;
mod state;
mod wire;

pub use self::{
    builder::NodeBuilder,
    cluster::Cluster,
    conformance::journal_conformance,
    fault::Fault,
    node::Node,
    rates::Rates,
    route::{Method, TrailingSlash},
    state::{Entry, NodeState},
};
