//! Nothing left to work with: no file descriptors, threads, memory, sockets or room in the journal. The real
//! command then says so with the exit code that is true, and what it could not finish is in the journal.
#![cfg(all(target_os = "linux", feature = "cli"))]

mod proof;

use std::collections::BTreeMap;
use std::io;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cluster_client::testing::{Cluster, Fault, Method};
use cluster_client::{
    Claim, ClaimError, ClusterClient, DirectoryJournal, Error, GroupId, Intent, Journal, JournalError, Unfinished,
};
use proof::{Client, Figures, PATIENCE, Ran, Running, acknowledged, binary, outcome, spread, strace_works};

const GROUP: &str = "payments";
const FOREIGN: &str = "payments-2";
const NODES: usize = 3;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Work {
    Create,
    /// One node refuses, so the others are rolled back.
    RefusedCreate,
    Delete,
    /// Of a create whose owner died when two nodes had the group.
    Recover,
}

const WORK: [Work; 4] = [Work::Create, Work::RefusedCreate, Work::Delete, Work::Recover];

impl Work {
    fn words(self) -> &'static [&'static str] {
        match self {
            Work::Create | Work::RefusedCreate => &["create", GROUP],
            Work::Delete => &["delete", GROUP, "--yes"],
            Work::Recover => &["recover"],
        }
    }

    fn holders_before(self) -> usize {
        match self {
            Work::Create | Work::RefusedCreate => 0,
            Work::Delete => NODES,
            Work::Recover => 2,
        }
    }

    fn holders_wanted(self) -> usize {
        if self == Work::Create { NODES } else { 0 }
    }
}

struct Lane {
    cluster: Cluster,
    client: Client,
    interrupted: Vec<u8>,
}

impl Lane {
    fn open() -> Self {
        let cluster = Cluster::start(NODES).unwrap();
        let client = Client::new(&cluster.urls(), Duration::from_millis(400), Duration::from_millis(40));
        let interrupted = client.interrupt_create(GROUP, cluster.node(1));
        Lane { cluster, client, interrupted }
    }

    fn prepare(&self, work: Work) {
        self.client.empty_journal();
        for (number, node) in self.cluster.nodes().iter().enumerate() {
            node.clear_faults();
            node.insert(FOREIGN);
            if number < work.holders_before() {
                node.insert(GROUP)
            } else {
                node.remove(GROUP)
            };
            node.clear_log();
        }
        if work == Work::RefusedCreate {
            self.cluster.node(1).inject(Fault::answer(403).on(Method::Post).group(GROUP).always());
        }
        if work == Work::Recover {
            std::fs::write(self.client.intent(GROUP), &self.interrupted).unwrap();
        }
    }

    fn holders(&self) -> usize {
        self.cluster.holders(GROUP).len()
    }

    fn sent(&self) -> u64 {
        self.cluster.nodes().iter().map(|node| node.count(Method::Post) + node.count(Method::Delete)).sum()
    }

    /// Runs the command behind `wrapper`, and holds it to what its exit code and its journal say.
    fn try_with(&self, wrapper: &[&str], work: Work, may_abort: bool, figures: &Figures) -> Ran {
        self.prepare(work);
        let ran = Running::start(self.client.command_under(wrapper, work.words())).end(PATIENCE);
        let (holders, sent) = (self.holders(), self.sent());
        let intent = self.client.intent(GROUP).exists();
        let recovered = self.client.run(&["recover"]);
        let place = format!("{work:?} under {wrapper:?}");
        let check = |holds: bool, what: &str| {
            figures.expect(holds, || {
                format!(
                    "{place}: {what}; on {holders}, intent {intent}, {ran:?}; then on {} {recovered:?}",
                    self.holders()
                )
            });
        };
        let truth = match ran.exit {
            Some(0) => holders == work.holders_wanted() && work != Work::RefusedCreate,
            Some(1) => holders == work.holders_before() || work == Work::RefusedCreate && holders == 0,
            Some(2) => holders == work.holders_before() && sent == 0,
            Some(3 | 4) => in_doubt_is_true(&ran, holders, intent),
            Some(5) => false,
            _ => may_abort,
        };
        check(truth, "the exit code is not true");
        check(intent || matches!(holders, 0 | NODES), "the hosts disagree, and nothing in the journal says so");
        check(may_abort || !ran.stderr.contains("panicked"), "it panicked");
        let explained = !ran.stderr.is_empty() || ran.stdout.contains("\"cause\":{");
        check(ran.exit == Some(0) || may_abort || explained, "it failed without a word");
        check(recovered.exit == Some(0), "recovery does not settle");
        check(matches!(self.holders(), 0 | NODES) && self.client.files().1.is_empty(), "recovery left something");
        check(self.cluster.all_have(FOREIGN), "a foreign group was touched");
        let exit = ran.exit.map_or("aborted".into(), |exit| format!("exit {exit}"));
        figures.count(format!("{work:?}: {exit}"));
        ran
    }
}

/// Checks that an operation in doubt is in the journal. Two results need no entry: the hosts are right and only the
/// record is not durable, or nothing of ours can be left on the unknown hosts.
fn in_doubt_is_true(ran: &Ran, holders: usize, intent: bool) -> bool {
    let Some(line) = acknowledged(ran) else { return intent };
    match outcome(&line) {
        "unrecorded" => holders == NODES,
        "busy" | "journal_failed" => intent,
        _ => line["recoverable"] == intent,
    }
}

fn report(name: &str, figures: &Figures) {
    println!("{name}:\n{figures}");
    assert_eq!(figures.violations(), Vec::<String>::new());
}

/// The shell sets a limit on itself and becomes the command.
fn limited(limit: &str) -> [String; 4] {
    ["sh".into(), "-c".into(), format!("ulimit {limit} && exec \"$0\" \"$@\""), String::new()]
}

/// Runs all work under each limit, as long as the program itself can be loaded under it.
fn under_limits(limits: Vec<String>, may_abort: bool, figures: &Figures) {
    let items: Vec<(String, Work)> =
        limits.into_iter().flat_map(|limit| WORK.map(|work| (limit.clone(), work))).collect();
    spread(
        &items,
        3,
        |_| Lane::open(),
        |lane, (limit, work)| {
            let shell = limited(limit);
            let wrapper: Vec<&str> = shell[..3].iter().map(String::as_str).collect();
            let loads = Command::new("sh").args(&wrapper[1..]).args([binary(), "--version"]).output().unwrap();
            if loads.status.success() {
                lane.try_with(&wrapper, *work, may_abort, figures);
            } else {
                figures.count("limits under which no program starts");
            }
        },
    );
}

#[test]
fn command_without_descriptors_fails_cleanly_and_loses_nothing() {
    let figures = Figures::default();
    under_limits((3..=16).map(|files| format!("-n {files}")).collect(), false, &figures);
    report("file descriptors, from 3 to 16", &figures);
    assert!(figures.get("Create: exit 1") > 0 && figures.get("Create: exit 0") > 0, "the limits meet the need");
}

/// The descriptors suffice for one host at a time, and idle connections to the others use them up.
#[test]
fn journal_gets_descriptors_of_idle_connections() {
    const HOSTS: usize = 12;
    let cluster = Cluster::start(HOSTS).unwrap();
    let client = Client::new(&cluster.urls(), Duration::from_secs(5), Duration::from_millis(40));
    let one = Client::new(&cluster.urls()[..1], Duration::from_secs(5), Duration::from_millis(40));
    let run = |client: &Client, files: usize, group: &str| {
        let shell = limited(&format!("-n {files}"));
        let wrapper: Vec<&str> = shell[..3].iter().map(String::as_str).collect();
        Running::start(client.command_under(&wrapper, &["create", group])).end(PATIENCE)
    };
    let least = (4..40).find(|files| run(&one, *files, &format!("one-{files}")).exit == Some(0)).unwrap();
    let figures = Figures::default();
    for files in least..least + HOSTS + 4 {
        for round in 0..4 {
            let ran = run(&client, files, &format!("g-{files}-{round}"));
            let told = acknowledged(&ran).map(|line| outcome(&line).to_owned()).unwrap_or_default();
            figures.count(format!("{files} descriptors: {told}"));
            let of_the_journal = matches!(told.as_str(), "journal_failed" | "unrecorded");
            figures.expect(!of_the_journal && !told.is_empty(), || format!("{files} descriptors: {ran:?}"));
        }
    }
    report("idle connections against the journal", &figures);
}

/// Store that fails the first call of each kind with an error of the system.
struct FailsFirst {
    inner: DirectoryJournal,
    error: i32,
    calls: Arc<Mutex<BTreeMap<&'static str, usize>>>,
    cluster: Arc<Cluster>,
}

impl FailsFirst {
    /// Counts the call. A second one fails unless the client has closed its connections.
    fn check(&self, call: &'static str) -> Result<(), JournalError> {
        let mut calls = self.calls.lock().unwrap();
        let number = calls.entry(call).or_default();
        *number += 1;
        let fails = match *number {
            1 => true,
            2 => !self.cluster.nodes().iter().all(|node| node.wait_until(|node| node.connections() == 0, PATIENCE)),
            _ => false,
        };
        if fails { Err(JournalError::new(call, io::Error::from_raw_os_error(self.error))) } else { Ok(()) }
    }
}

/// The store that the client gets; the test keeps the other end.
struct Handle(Arc<FailsFirst>);

struct FailsFirstClaim(Box<dyn Claim>, Arc<FailsFirst>);

impl Journal for Handle {
    fn claim(&self, group: &GroupId) -> Result<Box<dyn Claim>, ClaimError> {
        self.0.check("claim").map_err(ClaimError::Failed)?;
        Ok(Box::new(FailsFirstClaim(self.0.inner.claim(group)?, Arc::clone(&self.0))))
    }

    fn unfinished(&self) -> Result<Unfinished, JournalError> {
        self.0.check("list")?;
        let mut found = self.0.inner.unfinished()?;
        // The first recovery is about the list, the second about a file.
        if self.0.calls.lock().unwrap()["list"] > 2 {
            found.unreadable.extend(self.0.check("read").err());
        }
        Ok(found)
    }
}

impl Claim for FailsFirstClaim {
    fn inherited(&self) -> Option<&Intent> {
        self.0.inherited()
    }

    fn record(&mut self, intent: &Intent) -> Result<(), JournalError> {
        self.1.check("record")?;
        self.0.record(intent)
    }

    fn erase(&mut self) -> Result<(), JournalError> {
        self.1.check("erase")?;
        self.0.erase()
    }
}

fn with_a_journal_that_fails_first(error: i32) -> (ClusterClient, Arc<FailsFirst>, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let inner = DirectoryJournal::open(directory.path()).unwrap();
    let cluster = Arc::new(Cluster::start(3).unwrap());
    let urls = cluster.urls();
    let store = Arc::new(FailsFirst { inner, error, calls: Arc::default(), cluster });
    let client =
        ClusterClient::builder().hosts(urls).custom_journal(Arc::new(Handle(Arc::clone(&store)))).build().unwrap();
    // Leaves an idle connection to each host.
    client.group_status("other").unwrap();
    (client, store, directory)
}

const EMFILE: i32 = 24;
const ENFILE: i32 = 23;
const EIO: i32 = 5;

#[test]
fn journal_call_without_a_descriptor_is_repeated_after_idle_connections_are_closed() {
    for error in [EMFILE, ENFILE] {
        let (client, store, _directory) = with_a_journal_that_fails_first(error);
        client.create_group(GROUP).unwrap();
        assert!(store.cluster.all_have(GROUP));
        for _ in 0..2 {
            client.group_status("other").unwrap();
            assert!(client.recover().unwrap().is_complete());
        }
        let calls = store.calls.lock().unwrap();
        let expected = [("claim", 2), ("erase", 2), ("list", 4), ("read", 2), ("record", 2)];
        assert_eq!(calls.iter().map(|(call, number)| (*call, *number)).collect::<Vec<_>>(), expected);
    }
}

#[test]
fn journal_call_that_fails_for_another_reason_is_not_repeated() {
    let (client, store, _directory) = with_a_journal_that_fails_first(EIO);
    assert!(matches!(client.create_group(GROUP), Err(Error::Journal { .. })));
    assert!(client.recover().is_err());
    let calls = store.calls.lock().unwrap();
    assert_eq!(calls.iter().map(|(call, number)| (*call, *number)).collect::<Vec<_>>(), [("claim", 1), ("list", 1)]);
    assert!(store.cluster.none_has(GROUP));
}

/// Rust ends a program that gets no memory; then the journal has to know what was under way.
#[test]
fn command_without_memory_loses_nothing() {
    let figures = Figures::default();
    let kilobytes = std::iter::successors(Some(8_000u64), |last| Some(last * 9 / 8)).take(30);
    under_limits(kilobytes.map(|size| format!("-v {size}")).collect(), true, &figures);
    report("address space, from 8 MB to 240 MB", &figures);
    assert!(figures.get("Create: exit 0") > 0, "the limits meet the need");
}

struct Tampering {
    syscall: &'static str,
    error: &'static str,
    /// Only calls that are about the journal or a file in it.
    journal: bool,
}

fn tampered(lane: &Lane, tampering: &Tampering, when: &str, work: Work, figures: &Figures) -> Ran {
    let Tampering { syscall, error, journal } = tampering;
    let watch = format!("trace={syscall}");
    let inject = format!("inject={syscall}:error={error}:when={when}");
    let mut wrapper: Vec<String> =
        ["strace", "-f", "-qq", "-o", "/dev/null", "-e", &watch, "-e", &inject].map(Into::into).into();
    if *journal {
        let directory = lane.client.journal();
        let names = ["intent", "new", "lock"].map(|extension| directory.join(format!("{GROUP}.{extension}")));
        for path in names.iter().chain([&directory]) {
            wrapper.extend(["-P".into(), path.to_str().unwrap().to_owned()]);
        }
    }
    let wrapper: Vec<&str> = wrapper.iter().map(String::as_str).collect();
    lane.try_with(&wrapper, work, false, figures)
}

/// Each of the first calls alone, and each with all that follow it.
fn tamper_with_all(tamperings: &[Tampering], calls: usize, name: &str) {
    if !strace_works() {
        return;
    }
    let when: Vec<String> = (1..=calls).flat_map(|n| [n.to_string(), format!("{n}+")]).collect();
    let mut items = Vec::new();
    for tampering in tamperings {
        items.extend(when.iter().flat_map(|when| WORK.map(|work| (tampering, when.clone(), work))));
    }
    let figures = Figures::default();
    spread(
        &items,
        3,
        |_| Lane::open(),
        |lane, (tampering, when, work)| {
            tampered(lane, tampering, when, *work, &figures);
        },
    );
    report(name, &figures);
    assert!(figures.get("Create: exit 1") > 0, "nothing was refused: the faults did not meet their calls");
}

const fn journal(syscall: &'static str, error: &'static str) -> Tampering {
    Tampering { syscall, error, journal: true }
}

const fn anywhere(syscall: &'static str, error: &'static str) -> Tampering {
    Tampering { syscall, error, journal: false }
}

#[test]
fn operation_that_a_full_journal_cannot_record_sends_nothing() {
    let tamperings = [
        journal("write", "ENOSPC"),
        journal("fsync", "ENOSPC"),
        journal("fsync", "EIO"),
        journal("rename", "ENOSPC"),
        journal("openat", "ENOSPC"),
        journal("openat", "EMFILE"),
    ];
    tamper_with_all(&tamperings, 4, "a full journal");
}

#[test]
fn operation_that_a_failing_journal_cannot_record_sends_nothing() {
    let tamperings = [
        journal("openat", "EROFS"),
        journal("rename", "EROFS"),
        journal("unlink", "EROFS"),
        journal("unlink", "EIO"),
        journal("flock", "ENOLCK"),
        journal("read", "EIO"),
        journal("getdents64", "EIO"),
        journal("statx", "EACCES"),
    ];
    tamper_with_all(&tamperings, 4, "a read-only or broken journal");
}

/// The directory is open by then, so that a sync of it needs no descriptor.
#[test]
fn commit_is_recorded_if_the_journal_cannot_be_reopened() {
    if !strace_works() {
        return;
    }
    let (lane, figures) = (Lane::open(), Figures::default());
    let directory = lane.client.journal();
    let inject = "inject=openat:error=EMFILE:when=2+";
    let mut wrapper = vec!["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=openat", "-e", inject];
    wrapper.extend(["-P", directory.to_str().unwrap()]);
    for work in [Work::Create, Work::RefusedCreate, Work::Delete] {
        let ran = lane.try_with(&wrapper, work, false, &figures);
        let expected = i32::from(work == Work::RefusedCreate);
        assert_eq!(
            (ran.exit, acknowledged(&ran).unwrap()["recoverable"].as_bool()),
            (Some(expected), Some(false)),
            "{ran:?}"
        );
    }
    report("the journal's directory cannot be opened twice", &figures);
}

#[test]
fn command_without_sockets_fails_cleanly_and_loses_nothing() {
    let tamperings = [
        anywhere("socket", "EMFILE"),
        anywhere("socket", "ENFILE"),
        anywhere("connect", "EADDRNOTAVAIL"),
        anywhere("sendto", "ENOBUFS"),
        anywhere("recvfrom", "ENOMEM"),
        anywhere("poll", "ENOMEM"),
    ];
    tamper_with_all(&tamperings, 4, "no sockets");
}

#[test]
fn command_without_threads_completes_or_refuses() {
    if !strace_works() {
        return;
    }
    let figures = Figures::default();
    let when = ["1", "1+", "2", "2+", "3", "3+", "4", "4+"];
    let items: Vec<(&str, Work)> = when.iter().flat_map(|when| WORK.map(|work| (*when, work))).collect();
    spread(
        &items,
        3,
        |_| Lane::open(),
        |lane, (when, work)| {
            let ran = tampered(lane, &anywhere("clone3", "EAGAIN"), when, *work, &figures);
            // The first is the thread that waits for Ctrl-C. Without any other, the calling thread does it all.
            let done = matches!((work, ran.exit), (Work::RefusedCreate, Some(1)) | (_, Some(0)));
            figures.expect(done || when.starts_with('1'), || format!("{work:?} without thread {when}: {ran:?}"));
        },
    );
    report("no threads", &figures);
}

/// The journal on a small disk of its own, which the kernel itself refuses to write to.
#[test]
fn command_on_a_full_or_read_only_file_system_sends_nothing() {
    let lane = Lane::open();
    let journal = lane.client.journal();
    let full = format!(
        "mount -t tmpfs -o size=4k,mode=700 none {0} && head -c 4096 /dev/zero > {0}/ballast",
        journal.display()
    );
    let read_only = format!("mount -t tmpfs -o size=4k,mode=700,ro none {}", journal.display());
    for mount in [full, read_only] {
        let can = Command::new("unshare").args(["-rm", "sh", "-c", &mount]).output();
        if !can.is_ok_and(|ran| ran.status.success()) {
            println!("skipped: nothing may be mounted here, not even in a namespace of its own");
            return;
        }
        for (work, exit) in [(Work::Create, 1), (Work::Delete, 1)] {
            lane.prepare(work);
            let shell = format!("{mount} && exec \"$0\" \"$@\"");
            let ran = Running::start(lane.client.command_under(&["unshare", "-rm", "sh", "-c", &shell], work.words()));
            let ran = ran.end(PATIENCE);
            assert_eq!((ran.exit, lane.sent(), lane.holders()), (Some(exit), 0, work.holders_before()), "{ran:?}");
            let told = acknowledged(&ran).unwrap();
            let cause = told["cause"]["message"].as_str().unwrap();
            assert!(outcome(&told) == "journal_failed" && cause.starts_with("cannot "), "{told}");
        }
    }
}

/// The result cannot be told; the exit code still has to tell it.
#[test]
fn exit_code_is_right_if_the_output_cannot_be_written() {
    let figures = Figures::default();
    let lane = Lane::open();
    for work in WORK {
        let shell = ["sh", "-c", "exec \"$0\" \"$@\" >/dev/full"];
        lane.try_with(&shell, work, false, &figures);
        let shell = ["sh", "-c", "exec \"$0\" \"$@\" 2>/dev/full"];
        lane.try_with(&shell, work, false, &figures);
    }
    report("a full disk under the output", &figures);
}
