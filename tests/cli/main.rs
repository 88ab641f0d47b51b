//! The command, run as a process against real nodes. Every test looks at what all nodes have in the end, not
//! only at what the command says.

mod bench;
mod bounds;
mod demo;
mod exits;
#[cfg(unix)]
mod hostile_journal;
mod journal;
mod lists;
mod next;
mod node;
mod output;
mod printable;
mod pty;
mod recovery;
mod refusals;
mod secrets;
mod settings;
mod signals;
mod stuck;
mod terminal;
