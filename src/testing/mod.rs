//! An embedded node of the group API, with faults on demand: for the demo, our tests and yours.
//!
//! A [`Node`] is a real HTTP/1.1 server on a real socket inside your process; a [`Cluster`] is
//! several of them. They answer as real nodes do, and misbehave as real nodes do when a
//! [`Fault`] is injected or [`Rates`] are set. Afterwards the test asks the nodes themselves:
//! what they [have](Node::has), and which requests [arrived](Node::log).
//!
//! | request | answers |
//! | --- | --- |
//! | `POST /v1/group/` with `{"groupId":"g"}` | 201; 400 (or as configured) if it exists |
//! | `GET /v1/group/g/` | 200 or 404 |
//! | `DELETE /v1/group/` with `{"groupId":"g"}` | 200; 404 if absent (both as configured) |
//! | `GET /v1/group/` | 200 and all groups, for people |
//!
//! A body that is not such an object is answered 400, another path 404, another method 405. A
//! head may have 16 KiB and 64 headers (431 beyond), a body 64 KiB (413 beyond). Connections are
//! kept alive, requests may be pipelined, bodies may be chunked.
//!
//! Nothing here is made for the open Internet: there is no TLS, no timeout for idle clients, and
//! a thread per connection.
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
//! // The answer got lost, and yet the group is there.
//! assert!(answer.is_empty());
//! assert!(node.has("g"));
//! # Ok(()) }
//! ```
//
// The floors in here, lowest first: json, data_file | route | fault, wire | rates | state | connection and server,
// which are one machine in two files | node and its builder | cluster.

mod builder;
mod cluster;
mod connection;
mod data_file;
mod fault;
mod json;
mod node;
mod rates;
mod route;
mod server;
mod state;
mod wire;

pub use self::{
    builder::NodeBuilder,
    cluster::Cluster,
    fault::Fault,
    node::Node,
    rates::Rates,
    route::{Method, TrailingSlash},
    state::{Entry, State},
};
