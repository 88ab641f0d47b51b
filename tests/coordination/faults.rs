//! The faults of a round. Each begins just before a certain request of one coordinator, and has a duration.

use std::sync::Mutex;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use crate::coordinator::{HEADER, LONGEST_DELAY, TTL};
use crate::disk::SlowDisk;
use crate::etcd::MEMBERS;
use crate::lane::{COORDINATORS, Lane};
use crate::link::Mode;
use crate::proof::Figures;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    Kill,
    Pause,
    CutFromEtcd(Mode),
    CutFromNodes(Mode),
    LeaderKilled,
    LeaderPaused,
    NoQuorum,
    MemberRestarted,
    /// A member that works in bursts, as on a machine with too much work.
    SlowMember,
    /// The leader, or any member, waits this long for each sync of its disk.
    SlowDisk {
        delay: Duration,
        leader: bool,
    },
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    pub(crate) kind: Kind,
    pub(crate) coordinator: usize,
    pub(crate) member: usize,
    /// Begins before this request of the coordinator, counted from 1, to a node or to etcd.
    pub(crate) request: usize,
    pub(crate) to_etcd: bool,
    pub(crate) lasts: Duration,
}

/// A fault that was: what a judge must know of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Happened {
    pub(crate) fault: Fault,
    pub(crate) from: Instant,
    pub(crate) to: Instant,
    pub(crate) pid: u32,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Kill => "coordinator killed",
            Kind::Pause => "coordinator stopped and continued",
            Kind::CutFromEtcd(Mode::Held) => "coordinator cut from etcd, bytes arrive later",
            Kind::CutFromEtcd(_) => "coordinator cut from etcd",
            Kind::CutFromNodes(_) => "coordinator cut from the nodes",
            Kind::LeaderKilled => "leader of etcd killed and restarted",
            Kind::LeaderPaused => "leader of etcd stopped and continued",
            Kind::NoQuorum => "no quorum in etcd",
            Kind::MemberRestarted => "member of etcd restarted",
            Kind::SlowMember => "member of etcd slow",
            Kind::SlowDisk { leader: true, .. } => "disk of the leader of etcd slow",
            Kind::SlowDisk { leader: false, .. } => "disk of a member of etcd slow",
        }
    }

    /// Whether etcd itself suffers. A lease may then last longer: a new leader gives each its whole time again.
    pub(crate) fn is_of_etcd(self) -> bool {
        !matches!(self, Kind::Kill | Kind::Pause | Kind::CutFromEtcd(_) | Kind::CutFromNodes(_))
    }
}

impl Fault {
    pub(crate) fn draw(random: &mut fastrand::Rng) -> Self {
        let short = |random: &mut fastrand::Rng| Duration::from_millis(random.u64(50..1500));
        let beyond_ttl = |random: &mut fastrand::Rng| TTL + Duration::from_millis(random.u64(700..2500));
        let any = if random.u8(..3) == 0 { short(random) } else { beyond_ttl(random) };
        let mode = |random: &mut fastrand::Rng| [Mode::Lost, Mode::Held, Mode::Refused][random.usize(..3)];
        let (kind, lasts) = match random.u8(..17) {
            0..=2 => (Kind::Kill, Duration::ZERO),
            3..=6 => (Kind::Pause, any),
            7 | 8 => (Kind::CutFromEtcd(mode(random)), any),
            9 => match mode(random) {
                // A request that arrives later than the settle time is beyond the promise.
                Mode::Held => (Kind::CutFromNodes(Mode::Held), LONGEST_DELAY.mul_f64(random.f64())),
                mode => (Kind::CutFromNodes(mode), any),
            },
            10 => (Kind::LeaderKilled, short(random)),
            11 => (Kind::LeaderPaused, any),
            12 => (Kind::NoQuorum, any),
            13 => (Kind::MemberRestarted, short(random) / 4),
            14 => (Kind::SlowMember, short(random) * 2),
            _ => {
                let delay = Duration::from_millis(random.u64(20..800));
                (Kind::SlowDisk { delay, leader: random.bool() }, any)
            }
        };
        Fault {
            kind,
            coordinator: random.usize(..COORDINATORS),
            member: random.usize(..MEMBERS),
            request: random.usize(1..12),
            to_etcd: random.bool(),
            lasts,
        }
    }

    /// A stop past the lease in the middle of an operation.
    pub(crate) fn stop(coordinator: usize, random: &mut fastrand::Rng) -> Self {
        let (request, lasts) = (random.usize(3..10), TTL + Duration::from_millis(random.u64(1500..2500)));
        Fault { kind: Kind::Pause, coordinator, member: 0, request, to_etcd: false, lasts }
    }

    /// Waits for its request, and begins, lasts and ends. It begins late where the request does not come.
    pub(crate) fn run(self, lane: &Lane, armed: &Armed, figures: &Figures) -> Happened {
        let reached = armed.reached.recv_timeout(Duration::from_millis(400)) != Err(RecvTimeoutError::Timeout);
        let from = Instant::now();
        self.begin(lane, armed.leader);
        // A coordinator that is the command has a process for each operation, and this is the one that was met.
        let pid = lane.coordinator(self.coordinator).pid();
        figures.count(format!("fault: {}", self.kind.name()));
        figures.count(if reached { "fault began at its request" } else { "fault began between requests" });
        let _ = armed.goes_on.send(());
        // Takes a moment, in which a request to a node would become later than the settle time covers.
        let disk = self.slow_disk(lane, armed.leader, figures);
        if self.kind == Kind::SlowMember {
            self.burst(lane);
        } else {
            thread::sleep(self.lasts);
        }
        self.end(lane, armed.leader);
        if let Some(slow) = disk.and_then(|disk| disk.end(&lane.etcd)) {
            figures.add("slow sync of etcd", slow.syncs.into());
            figures.time("slow sync of etcd, mean of a fault", slow.mean);
            figures.expect(slow.shows(), || format!("a slow disk was none: {self:?}: {slow:?}"));
        }
        Happened { fault: self, from, to: Instant::now(), pid }
    }

    /// The slow disk, if this fault is one and it can be made here.
    fn slow_disk(self, lane: &Lane, leader: usize, figures: &Figures) -> Option<SlowDisk> {
        let Kind::SlowDisk { delay, leader: of_leader } = self.kind else { return None };
        let disk = SlowDisk::begin(&lane.etcd, if of_leader { leader } else { self.member }, delay);
        if disk.is_none() {
            figures.count("fault: a slow disk could not be made: no strace, or no such process");
        }
        disk
    }

    fn begin(self, lane: &Lane, leader: usize) {
        let etcd = &lane.etcd.cluster;
        match self.kind {
            Kind::Kill => lane.coordinator(self.coordinator).kill(),
            Kind::Pause => lane.coordinator(self.coordinator).pause(true),
            Kind::CutFromEtcd(mode) => lane.cut_from_etcd(self.coordinator, mode),
            Kind::CutFromNodes(mode) => lane.cut_from_nodes(self.coordinator, mode),
            Kind::LeaderKilled => etcd.kill(leader),
            Kind::LeaderPaused => etcd.pause(leader),
            Kind::NoQuorum => (0..MEMBERS).filter(|n| *n != self.member).for_each(|n| etcd.kill(n)),
            Kind::MemberRestarted => etcd.kill(self.member),
            Kind::SlowMember | Kind::SlowDisk { .. } => {}
        }
    }

    fn end(self, lane: &Lane, leader: usize) {
        match self.kind {
            Kind::Kill => lane.restart(self.coordinator),
            Kind::Pause => lane.coordinator(self.coordinator).pause(false),
            Kind::CutFromEtcd(_) => lane.cut_from_etcd(self.coordinator, Mode::Open),
            Kind::CutFromNodes(_) => lane.cut_from_nodes(self.coordinator, Mode::Open),
            Kind::LeaderPaused => lane.etcd.cluster.resume(leader),
            Kind::LeaderKilled | Kind::NoQuorum | Kind::MemberRestarted => {
                (0..MEMBERS).for_each(|member| lane.etcd.cluster.run(member));
            }
            Kind::SlowMember | Kind::SlowDisk { .. } => {}
        }
    }

    fn burst(self, lane: &Lane) {
        let etcd = &lane.etcd.cluster;
        let ends = Instant::now() + self.lasts;
        while Instant::now() < ends {
            etcd.pause(self.member);
            thread::sleep(Duration::from_millis(150));
            etcd.resume(self.member);
            thread::sleep(Duration::from_millis(30));
        }
    }
}

/// A fault that waits for its request. The request waits for its beginning.
pub(crate) struct Armed {
    reached: Receiver<()>,
    goes_on: mpsc::SyncSender<()>,
    /// Asked before, because a request must not wait for the answer.
    leader: usize,
}

impl Armed {
    pub(crate) fn arm(fault: &Fault, lane: &Lane) -> Self {
        let (tells, reached) = mpsc::channel();
        let (goes_on, waits) = mpsc::sync_channel(1);
        let waits = Mutex::new(waits);
        let links: Vec<_> = if fault.to_etcd {
            lane.to_etcd[fault.coordinator].iter().collect()
        } else {
            lane.nodes.iter().map(|served| &served.link).collect()
        };
        let word = if fault.to_etcd { String::new() } else { format!("{HEADER}: {}", fault.coordinator) };
        crate::link::at_request(&links, fault.request, crate::link::contains, &word, move || {
            let _ = tells.send(());
            let _ = waits.lock().unwrap().recv_timeout(Duration::from_secs(5));
        });
        let leader = fault.kind.is_of_etcd().then(|| lane.etcd.leader()).flatten();
        Armed { reached, goes_on, leader: leader.unwrap_or(fault.member) }
    }
}
