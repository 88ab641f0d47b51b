//! A slow disk of a member of etcd: strace delays each call with which the member waits for its disk. The member itself
//! measures these calls, which shows that the disk was slow.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use crate::etcd::Etcd;
use crate::guard;
use crate::lane::{Lane, NODES};
use crate::proof::process::signal;
use crate::proof::{PATIENCE, strace_works};

/// Number of syncs of the log, and their time together, since the member started.
#[derive(Clone, Copy, Debug)]
struct Syncs {
    number: f64,
    seconds: f64,
}

/// The syncs of a member while its disk was slow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slowness {
    pub(crate) syncs: u32,
    pub(crate) mean: Duration,
    delay: Duration,
}

/// Dropping it makes the disk fast again.
pub(crate) struct SlowDisk {
    strace: Child,
    /// Open for as long as strace writes to it.
    _stderr: BufReader<ChildStderr>,
    member: usize,
    pid: u32,
    delay: Duration,
    before: Option<Syncs>,
}

/// Whether strace works here. Says so once where it does not.
pub(crate) fn can_be_slow() -> bool {
    static WORKS: OnceLock<bool> = OnceLock::new();
    *WORKS.get_or_init(strace_works)
}

impl SlowDisk {
    /// Delays each sync of a member from now on. `None` if it does not run, is traced already, or strace does not work.
    pub(crate) fn begin(etcd: &Etcd, member: usize, delay: Duration) -> Option<Self> {
        if !can_be_slow() {
            return None;
        }
        let mut slow = etcd.cluster.with_pid(member, |pid| {
            let mut strace = trace(pid, delay);
            let mut stderr = BufReader::new(strace.stderr.take().unwrap());
            let mut line = String::new();
            let _ = stderr.read_line(&mut line);
            let slow = SlowDisk { strace, _stderr: stderr, member, pid, delay, before: None };
            line.contains("attached").then_some(slow)
        })??;
        slow.before = Syncs::of(etcd, member);
        Some(slow)
    }

    /// Makes the disk fast again. Returns what the member measured, if it could be asked and is still the same process.
    pub(crate) fn end(self, etcd: &Etcd) -> Option<Slowness> {
        let after = Syncs::of(etcd, self.member);
        let is_same = etcd.cluster.with_pid(self.member, |now| now == self.pid)?;
        let (before, after) = (self.before?, after.filter(|_| is_same)?);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small count")]
        let syncs = (after.number - before.number) as u32;
        let mean = Duration::from_secs_f64(((after.seconds - before.seconds) / f64::from(syncs.max(1))).max(0.0));
        Some(Slowness { syncs, mean, delay: self.delay })
    }
}

impl Drop for SlowDisk {
    fn drop(&mut self) {
        // It lets go of all threads of the member before it ends.
        signal("TERM", &self.strace.id().to_string());
        let _ = self.strace.wait();
    }
}

impl Slowness {
    /// Whether the delay shows. The first sync may have begun before.
    pub(crate) fn shows(&self) -> bool {
        self.mean * self.syncs >= self.delay * self.syncs.saturating_sub(1)
    }
}

impl Syncs {
    fn of(etcd: &Etcd, member: usize) -> Option<Self> {
        let metrics = etcd.metrics(member)?;
        let value = |end: &str| {
            let name = format!("etcd_disk_wal_fsync_duration_seconds_{end} ");
            metrics.lines().find_map(|line| line.strip_prefix(&name)?.parse().ok())
        };
        Some(Syncs { number: value("count")?, seconds: value("sum")? })
    }
}

fn trace(pid: u32, delay: Duration) -> Child {
    let calls = "fdatasync,fsync";
    let mut command = Command::new("strace");
    command.args(["-f", "-o", "/dev/null", "-e", "signal=none", "-e", &format!("trace={calls}")]);
    command.args(["-e", &format!("inject={calls}:delay_enter={}ms", delay.as_millis()), "-p", &pid.to_string()]);
    command.process_group(guard::group()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

#[test]
fn groups_are_created_while_the_disk_of_the_leader_is_slow() {
    let Some(lane) = Lane::open(4, false, None) else { return };
    if !can_be_slow() {
        return;
    }
    let create = |group: &str| lane.coordinator(0).run("create", group, PATIENCE).expect("a result");
    let (leader, delay) = (lane.etcd.leader().expect("a leader"), Duration::from_millis(200));
    let disk = SlowDisk::begin(&lane.etcd, leader, delay).expect("the leader can be traced");
    assert_eq!(create("slowly").word(), "created");
    let slow = disk.end(&lane.etcd).expect("the leader tells of its disk");
    assert!(slow.syncs >= 3 && slow.shows(), "{slow:?}");
    // It is as fast as before once strace is gone.
    let before = Syncs::of(&lane.etcd, leader).unwrap();
    assert_eq!(create("again").word(), "created");
    let after = Syncs::of(&lane.etcd, leader).unwrap();
    let mean = (after.seconds - before.seconds) / (after.number - before.number);
    assert!(mean < delay.as_secs_f64() / 2.0, "{mean} s");
    assert_eq!([lane.holders("slowly"), lane.holders("again")], [[true; NODES]; 2]);
}
