//! Coordination on real processes: three coordinators with nothing shared but three nodes and an etcd of three members.
#![cfg(all(target_os = "linux", feature = "cli", feature = "etcd"))]

mod proof;

#[path = "coordination/coordinator.rs"]
mod coordinator;
#[path = "coordination/faults.rs"]
mod faults;
#[path = "coordination/history.rs"]
mod history;
#[path = "coordination/judge.rs"]
mod judge;
#[path = "coordination/lane.rs"]
mod lane;
#[path = "coordination/link.rs"]
mod link;
#[path = "coordination/mutants.rs"]
mod mutants;
#[path = "coordination/network.rs"]
mod network;
#[path = "coordination/rounds.rs"]
mod rounds;
#[path = "coordination/stopped.rs"]
mod stopped;
