//! Live progress on standard error. The observer records the events of the library and returns. On a terminal, the
//! writer thread draws a row several times a second. Elsewhere, each phase is a line.

use std::collections::HashMap;
use std::io::{self, IsTerminal as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cluster_client::{Event, EventKind, GroupId, Host, Observer, Phase, Printable};

use crate::args::GlobalOptions;
use crate::output::{eprint, show_frames};
use crate::output_queue::Frame;
use crate::summary::hosts;

/// Time after which a pending host is named. Earlier, the names would flicker.
const MIN_NAMED_WAIT: Duration = Duration::from_secs(1);
/// Maximum number of pending hosts that are named.
const MOST_NAMED: usize = 3;

pub(crate) struct Progress {
    mode: Mode,
    state: Mutex<ProgressState>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Silent,
    /// One row that is redrawn, on a terminal.
    Live,
    /// A line for each phase of an operation.
    Phases,
    /// A line for each tenth of many groups.
    Tenths,
}

/// The state of all operations.
struct ProgressState {
    /// `None` if the number is not known before the end.
    groups: Option<usize>,
    /// Number of operations that have ended, and number of results that were printed.
    ended: usize,
    shown: usize,
    running: HashMap<GroupId, Running>,
    tries: Tries,
    /// The word for a group.
    noun: String,
}

/// Maximum number of tries of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tries {
    pub(crate) usual: u32,
    pub(crate) of_a_rollback: u32,
}

/// An operation in its current phase.
struct Running {
    phase: Phase,
    since: Instant,
    /// The hosts of the phase, and the progress of each.
    hosts: Vec<(Host, HostProgress)>,
    places: HashMap<Host, usize>,
    finished: usize,
    /// The holder of the lock that the operation waits for.
    holder: Option<String>,
}

#[derive(Debug, Clone, Copy)]
enum HostProgress {
    /// This try is under way.
    Asked(u32),
    /// This try begins at that time.
    Again(u32, Instant),
    Finished,
}

/// A host that has not finished the phase.
struct Awaited {
    host: Host,
    since: Instant,
    tries: Option<String>,
}

impl Progress {
    /// Creates the progress of operations on this number of groups, or `None` if it is unknown.
    pub(crate) fn new(global: &GlobalOptions, groups: Option<usize>, tries: Tries, noun: &str) -> Arc<Self> {
        let mode = match groups {
            _ if global.quiet => Mode::Silent,
            _ if is_live() => Mode::Live,
            None | Some(1) => Mode::Phases,
            Some(_) => Mode::Tenths,
        };
        let state = ProgressState { groups, ended: 0, shown: 0, running: HashMap::new(), tries, noun: noun.into() };
        let progress = Arc::new(Progress { mode, state: Mutex::new(state) });
        if mode == Mode::Live {
            show_frames(Some(progress.clone()));
        }
        progress
    }

    /// Returns a progress that shows nothing.
    pub(crate) fn silent(tries: Tries) -> Arc<Self> {
        let state =
            ProgressState { groups: None, ended: 0, shown: 0, running: HashMap::new(), tries, noun: String::new() };
        Arc::new(Progress { mode: Mode::Silent, state: Mutex::new(state) })
    }

    /// Removes the row from the screen.
    pub(crate) fn end(&self) {
        if self.mode == Mode::Live {
            show_frames(None);
        }
    }

    /// Counts a group whose result was printed.
    pub(crate) fn group_ended(&self) {
        let mut state = self.state();
        state.shown += 1;
        if let (Mode::Tenths, Some(total)) = (self.mode, state.groups)
            && state.shown * 10 / total > (state.shown - 1) * 10 / total
        {
            eprint(&format!("{} of {total} {}s", state.shown, state.noun));
        }
    }

    /// Locks the state. No IO may happen under the lock.
    fn state(&self) -> MutexGuard<'_, ProgressState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns whether standard error is a terminal that can move its cursor.
fn is_live() -> bool {
    io::stderr().is_terminal() && can_move_the_cursor()
}

/// Returns whether a terminal, if there is one, can move its cursor.
pub(crate) fn can_move_the_cursor() -> bool {
    cfg!(unix) && std::env::var_os("TERM").is_some_and(|term| term != "dumb")
}

impl Observer for Progress {
    fn on_event(&self, event: &Event) {
        let group = &event.group;
        match (self.mode, &event.kind) {
            (Mode::Live, kind) => self.state().note(group, kind, Instant::now()),
            (Mode::Phases, EventKind::Entered { phase, .. }) => {
                if let Some(doing) = doing(*phase) {
                    eprint(&format!("{group}: {doing}"));
                }
            }
            _ => {}
        }
    }
}

impl Frame for Progress {
    fn row(&self, columns: usize) -> String {
        self.state().row(Instant::now(), columns)
    }
}

impl ProgressState {
    fn note(&mut self, group: &GroupId, event: &EventKind, now: Instant) {
        match event {
            EventKind::Finished { .. } => {
                self.ended += 1;
                self.running.remove(group);
            }
            EventKind::Started { .. } => {
                self.running.insert(group.clone(), Running::new(Phase::Claim, now));
            }
            EventKind::Entered { phase, .. } => {
                self.running.insert(group.clone(), Running::new(*phase, now));
            }
            event => {
                if let Some(running) = self.running.get_mut(group) {
                    running.note(event, now);
                }
            }
        }
    }

    fn row(&self, now: Instant, columns: usize) -> String {
        let done = match (self.groups, self.running.values().next()) {
            // The single operation has not begun, or has ended.
            (Some(1), None) => return String::new(),
            (Some(1), Some(running)) => running.row(now, &self.noun),
            (groups, _) => {
                let of = groups.map(|groups| format!(" of {groups}")).unwrap_or_default();
                format!("{}{of} {}s; {} in progress", self.ended, self.noun, self.running.len())
            }
        };
        let awaited = self.awaited(now);
        let Some(first) = awaited.first() else { return cut(format!("  {done}"), columns) };
        let longest = now.saturating_duration_since(first.since).as_secs();
        let row = |named| format!("  {done}; waiting for {}, {longest} s", names(&awaited, named));
        // Show as many names as fit.
        let fitting = (1..=MOST_NAMED).rev().map(row).find(|row| row.chars().count() <= columns);
        fitting.unwrap_or_else(|| cut(row(1), columns))
    }

    /// Returns the hosts that have been pending long enough to be named, in any operation, the longest first.
    fn awaited(&self, now: Instant) -> Vec<Awaited> {
        let mut awaited: Vec<Awaited> = Vec::new();
        let mut places: HashMap<&Host, usize> = HashMap::new();
        let old = |running: &&Running| now.saturating_duration_since(running.since) >= MIN_NAMED_WAIT;
        for running in self.running.values().filter(old) {
            let tries = if running.phase == Phase::RollBack { self.tries.of_a_rollback } else { self.tries.usual };
            for (host, progress) in
                running.hosts.iter().filter(|(_, progress)| !matches!(progress, HostProgress::Finished))
            {
                let this =
                    || Awaited { host: host.clone(), since: running.since, tries: progress.describe(tries, now) };
                match places.get(host) {
                    Some(place) if awaited[*place].since > running.since => awaited[*place] = this(),
                    Some(_) => {}
                    None => {
                        places.insert(host, awaited.len());
                        awaited.push(this());
                    }
                }
            }
        }
        // Of hosts that are pending for an equal time, those with a retry come first. The sort is stable.
        awaited.sort_by_key(|awaited| (awaited.since, awaited.tries.is_none()));
        awaited
    }
}

impl Running {
    fn new(phase: Phase, since: Instant) -> Self {
        Running { phase, since, hosts: Vec::new(), places: HashMap::new(), finished: 0, holder: None }
    }

    fn note(&mut self, event: &EventKind, now: Instant) {
        match event {
            EventKind::Participants { hosts, .. } => {
                self.set_hosts(hosts.iter().cloned());
            }
            EventKind::Waiting { holder, .. } => self.holder = Some(Printable::new(holder).to_string()),
            EventKind::Answered { host, attempt, .. } => self.update(host, HostProgress::Asked(*attempt)),
            EventKind::Retrying { host, attempt, delay, .. } => {
                self.update(host, HostProgress::Again(*attempt, now + *delay));
            }
            EventKind::Reached { host, .. } => self.update(host, HostProgress::Finished),
            _ => {}
        }
    }

    fn set_hosts(&mut self, hosts: impl Iterator<Item = Host>) {
        self.hosts = hosts.map(|host| (host, HostProgress::Asked(1))).collect();
        self.places = self.hosts.iter().map(|(host, _)| host.clone()).zip(0..).collect();
        self.finished = 0;
    }

    fn update(&mut self, host: &Host, progress: HostProgress) {
        let Some(place) = self.places.get(host) else { return };
        let known = &mut self.hosts[*place].1;
        if !matches!(known, HostProgress::Finished) {
            self.finished += usize::from(matches!(progress, HostProgress::Finished));
            *known = progress;
        }
    }

    fn row(&self, now: Instant, noun: &str) -> String {
        match (self.phase, doing(self.phase)) {
            (_, Some(doing)) if self.hosts.is_empty() => doing.into(),
            (_, Some(doing)) => format!("{doing}: {} of {}", self.finished, hosts(self.hosts.len())),
            (Phase::Claim, None) => {
                let holder = self.holder.as_ref().map(|holder| format!(": {holder}")).unwrap_or_default();
                let seconds = now.saturating_duration_since(self.since).as_secs();
                format!("waiting for the lock of the {noun}, {seconds} s{holder}")
            }
            (_, None) => "writing the journal".into(),
        }
    }
}

impl HostProgress {
    /// Returns the number of the try, unless it is the first.
    fn describe(self, most: u32, now: Instant) -> Option<String> {
        match self {
            HostProgress::Again(attempt, due) if due > now => {
                let seconds = (due - now).as_secs_f64().ceil();
                Some(format!("try {attempt} of {most} in {seconds:.0} s"))
            }
            HostProgress::Again(attempt, _) | HostProgress::Asked(attempt @ 2..) => {
                Some(format!("try {attempt} of {most}"))
            }
            HostProgress::Asked(_) | HostProgress::Finished => None,
        }
    }
}

/// Returns `node33 (try 2 of 3), node71 and 12 more`, with at most `most` names.
fn names(awaited: &[Awaited], most: usize) -> String {
    let name = |awaited: &Awaited| match &awaited.tries {
        Some(tries) => format!("{} ({tries})", awaited.host.label()),
        None => awaited.host.label().to_owned(),
    };
    let shown: Vec<String> = awaited.iter().take(most).map(name).collect();
    let more = awaited.len() - shown.len();
    match &shown[..] {
        [first @ .., last] if more == 0 && !first.is_empty() => format!("{} and {last}", first.join(", ")),
        all if more == 0 => all.join(", "),
        all => format!("{} and {more} more", all.join(", ")),
    }
}

/// Returns the text of a phase. Phases without requests have none, because they are short.
fn doing(phase: Phase) -> Option<&'static str> {
    match phase {
        Phase::Probe => Some("asking the hosts"),
        Phase::Create => Some("creating"),
        Phase::RollBack => Some("rolling back"),
        Phase::Delete => Some("deleting"),
        _ => None,
    }
}

fn cut(row: String, columns: usize) -> String {
    if row.chars().count() <= columns {
        return row;
    }
    let kept = columns.saturating_sub(3);
    row.chars().take(kept).chain("...".chars().take(columns)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(groups: Option<usize>) -> ProgressState {
        let tries = Tries { usual: 3, of_a_rollback: 5 };
        ProgressState { groups, ended: 0, shown: 0, running: HashMap::new(), tries, noun: "group".into() }
    }

    fn host(number: usize) -> Host {
        Host::parse(format!("http://node{number}:80")).unwrap()
    }

    fn begin(state: &mut ProgressState, group: &str, phase: Phase, hosts: usize, now: Instant) {
        let group = GroupId::parse(group).unwrap();
        state.note(&group, &EventKind::entered(phase), now);
        let running = state.running.get_mut(&group).unwrap();
        running.set_hosts((0..hosts).map(host));
    }

    fn update(state: &mut ProgressState, group: &str, number: usize, progress: HostProgress) {
        state.running.get_mut(&GroupId::parse(group).unwrap()).unwrap().update(&host(number), progress);
    }

    #[test]
    fn row_counts_finished_hosts_and_names_the_others_after_a_second() {
        let (mut state, begun) = (state(Some(1)), Instant::now());
        begin(&mut state, "g", Phase::Create, 400, begun);
        let after = |ms| begun + Duration::from_millis(ms);
        for number in (0..400).filter(|number| ![33, 71].contains(number)) {
            update(&mut state, "g", number, HostProgress::Finished);
        }
        assert_eq!(state.row(after(999), 80), "  creating: 398 of 400 hosts");
        update(&mut state, "g", 71, HostProgress::Again(2, after(9_000)));
        assert_eq!(
            state.row(after(2_500), 100),
            "  creating: 398 of 400 hosts; waiting for node71 (try 2 of 3 in 7 s) and node33, 2 s"
        );
    }

    #[test]
    fn row_has_as_many_names_as_fit() {
        let (mut state, begun) = (state(Some(1)), Instant::now());
        begin(&mut state, "g", Phase::Probe, 5, begun);
        let now = begun + Duration::from_secs(3);
        let row = |columns| state.row(now, columns);
        assert_eq!(row(100), "  asking the hosts: 0 of 5 hosts; waiting for node0, node1, node2 and 2 more, 3 s");
        assert_eq!(row(80), "  asking the hosts: 0 of 5 hosts; waiting for node0, node1 and 3 more, 3 s");
        assert_eq!(row(70), "  asking the hosts: 0 of 5 hosts; waiting for node0 and 4 more, 3 s");
        assert_eq!(row(20), "  asking the host...");
        assert_eq!(row(2), "..");
        assert_eq!(row(0), "");
    }

    #[test]
    fn row_of_many_groups_names_the_longest_pending_hosts() {
        let (mut state, begun) = (state(Some(40)), Instant::now());
        assert_eq!(state.row(begun, 80), "  0 of 40 groups; 0 in progress");
        begin(&mut state, "a", Phase::Create, 2, begun);
        begin(&mut state, "b", Phase::RollBack, 2, begun + Duration::from_secs(2));
        update(&mut state, "a", 0, HostProgress::Finished);
        update(&mut state, "b", 1, HostProgress::Finished);
        update(&mut state, "b", 0, HostProgress::Asked(4));
        let row = state.row(begun + Duration::from_secs(5), 100);
        assert_eq!(row, "  0 of 40 groups; 2 in progress; waiting for node1 and node0 (try 4 of 5), 5 s");
    }

    #[test]
    fn row_names_no_host_outside_the_phase() {
        let (mut state, begun) = (state(None), Instant::now());
        begin(&mut state, "g", Phase::RollBack, 1, begun);
        update(&mut state, "g", 7, HostProgress::Asked(2));
        update(&mut state, "g", 0, HostProgress::Finished);
        update(&mut state, "g", 0, HostProgress::Asked(1));
        assert_eq!(state.row(begun + Duration::from_secs(9), 80), "  0 groups; 1 in progress");
    }
}
