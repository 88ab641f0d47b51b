//! Runs the command as a process against real nodes. Tests check the groups on all nodes afterwards, and not only the
//! output.

mod bench;
mod bounds;
#[cfg(unix)]
mod coordination;
mod credentials;
mod demo;
mod etcd;
#[path = "../support/etcd.rs"]
mod etcd_cluster;
mod exits;
#[path = "../support/gate.rs"]
mod gate;
#[cfg(unix)]
mod hostile_journal;
mod journal;
mod lists;
mod machine;
mod many;
mod mapping;
mod next;
mod node;
mod options;
mod output;
mod printable;
mod probe;
mod proxy;
mod pty;
#[cfg(unix)]
mod readme;
mod recovery;
mod refusals;
#[path = "../support/schema.rs"]
mod schema;
mod screens;
mod secrets;
mod settings;
mod signals;
mod slips;
mod stuck;
mod terminal;
mod tls;
#[path = "../support/tls.rs"]
mod tls_server;
mod tutorial;
mod watch;
