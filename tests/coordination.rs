//! Coordination on real processes: three coordinators with nothing shared but three nodes and an etcd of three members.
//! Two are programs with the library, and one is the command. Coordinators are killed, stopped past their lease, cut off;
//! members of etcd are killed, stopped and slowed, or their disks are. The oracle is the log of each node and the history
//! of etcd.
//!
//! A sample in CI; more with
//! `COORDINATION_ROUNDS=1000 cargo test --release --all-features --test coordination rounds_end -- --nocapture`.
//! Round n uses the seed `COORDINATION_SEED` + n, so `COORDINATION_SEED=<seed of the round> COORDINATION_ROUNDS=1` draws it
//! again. `COORDINATION_LANES` sets how many clusters work at once, `COORDINATION_ETCD=3.4` takes another etcd, and
//! `COORDINATION_NETWORK=no` cuts the network with relays instead of namespaces. The mistakes that the oracle must find:
//! `cargo test --release --all-features --test coordination mistakes -- --ignored --nocapture`.
#![cfg(all(target_os = "linux", feature = "cli", feature = "etcd"))]

mod proof;

#[path = "support/etcd.rs"]
mod cluster;
#[path = "coordination/command.rs"]
mod command;
#[path = "coordination/coordinator.rs"]
mod coordinator;
#[path = "coordination/cut.rs"]
mod cut;
#[path = "coordination/disk.rs"]
mod disk;
#[path = "coordination/etcd.rs"]
mod etcd;
#[path = "coordination/faults.rs"]
mod faults;
#[path = "coordination/guard.rs"]
mod guard;
#[path = "coordination/history.rs"]
mod history;
#[path = "coordination/judge.rs"]
mod judge;
#[path = "coordination/killed.rs"]
mod killed;
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
