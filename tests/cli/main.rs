//! The command, run as a process against real nodes. Every test looks at what all nodes have in the end, not
//! only at what the command says.

mod bench;
mod demo;
mod exits;
mod lists;
mod next;
mod node;
mod output;
mod pty;
mod recovery;
mod refusals;
mod settings;
mod signals;
mod stuck;
mod terminal;
