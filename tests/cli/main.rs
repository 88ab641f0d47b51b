//! Runs the command as a process against real nodes. Tests check the groups on all nodes afterwards, and not only the
//! output.

mod bench;
mod bounds;
mod credentials;
mod demo;
mod exits;
#[path = "../support/gate.rs"]
mod gate;
#[cfg(unix)]
mod hostile_journal;
mod journal;
mod lists;
mod mapping;
mod next;
mod node;
mod output;
mod printable;
mod proxy;
mod pty;
mod recovery;
mod refusals;
mod secrets;
mod settings;
mod signals;
mod stuck;
mod terminal;
mod tls;
#[path = "../support/tls.rs"]
mod tls_server;
mod tutorial;
