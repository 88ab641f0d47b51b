//! What is shown on standard error while operations run. The library tells this observer what happens, which notes
//! it and returns. On a terminal the writer's thread asks for a row several times a second; elsewhere each phase is
//! a line.

use std::collections::HashMap;
use std::io::{self, IsTerminal as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cluster_client::{Event, EventKind, GroupId, Host, Observer, Phase};

use crate::args::GlobalOptions;
use crate::output::{eprint, show_frames};
use crate::output_queue::Frame;

/// A host is named when it was waited for so long: before, the names would only flicker.
const WORTH_A_NAME: Duration = Duration::from_secs(1);
/// At most so many hosts that are waited for are named.
const MOST_NAMED: usize = 3;

pub(crate) struct Progress {
    mode: Mode,
    state: Mutex<State>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Silent,
    /// On a terminal: one row, kept up to date.
    Live,
    /// Elsewhere: a line for each phase of an operation.
    Phases,
    /// Elsewhere, for many groups: a line for each tenth.
    Tenths,
}

/// What is known at this moment.
struct State {
    /// `None` if the number is not known before the end.
    groups: Option<usize>,
    /// Operations that have ended, and results that were handed out.
    ended: usize,
    shown: usize,
    running: HashMap<GroupId, Running>,
    tries: Tries,
}

/// How often a request is tried at most.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tries {
    pub(crate) usual: u32,
    pub(crate) of_a_rollback: u32,
}

/// An operation in its present phase.
struct Running {
    phase: Phase,
    since: Instant,
    /// The hosts that take part, and how far each is.
    hosts: Vec<(Host, Way)>,
    places: HashMap<Host, usize>,
    through: usize,
}

#[derive(Debug, Clone, Copy)]
enum Way {
    /// It is asked for the first time, or for the n-th.
    Asked(u32),
    /// It is asked for the n-th time from then on.
    Again(u32, Instant),
    Through,
}

/// A host that is waited for.
struct Awaited {
    host: Host,
    since: Instant,
    tries: Option<String>,
}

impl Progress {
    /// For operations on this number of groups; `None` if it is not known.
    pub(crate) fn new(global: &GlobalOptions, groups: Option<usize>, tries: Tries) -> Arc<Self> {
        let mode = match groups {
            _ if global.quiet => Mode::Silent,
            _ if is_live() => Mode::Live,
            None | Some(1) => Mode::Phases,
            Some(_) => Mode::Tenths,
        };
        let state = State { groups, ended: 0, shown: 0, running: HashMap::new(), tries };
        let progress = Arc::new(Progress { mode, state: Mutex::new(state) });
        if mode == Mode::Live {
            show_frames(Some(progress.clone()));
        }
        progress
    }

    /// Takes everything off the screen: what comes now is the end.
    pub(crate) fn end(&self) {
        if self.mode == Mode::Live {
            show_frames(None);
        }
    }

    /// The result of a group was handed out.
    pub(crate) fn group_ended(&self) {
        let mut state = self.state();
        state.shown += 1;
        if let (Mode::Tenths, Some(total)) = (self.mode, state.groups)
            && state.shown * 10 / total > (state.shown - 1) * 10 / total
        {
            eprint(&format!("{} of {total} groups", state.shown));
        }
    }

    /// Held only for what is done in memory.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the terminal can move its cursor.
fn is_live() -> bool {
    cfg!(unix) && io::stderr().is_terminal() && std::env::var_os("TERM").is_some_and(|term| term != "dumb")
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

impl State {
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
            // A single operation that has not begun, or is over.
            (Some(1), None) => return String::new(),
            (Some(1), Some(running)) => running.row(now),
            (groups, _) => {
                let of = groups.map(|groups| format!(" of {groups}")).unwrap_or_default();
                format!("{}{of} groups; {} in progress", self.ended, self.running.len())
            }
        };
        let awaited = self.awaited(now);
        let Some(first) = awaited.first() else { return cut(format!("  {done}"), columns) };
        let longest = now.saturating_duration_since(first.since).as_secs();
        let row = |named| format!("  {done}; waiting for {}, {longest} s", names(&awaited, named));
        // As many names as there is room for.
        let fitting = (1..=MOST_NAMED).rev().map(row).find(|row| row.chars().count() <= columns);
        fitting.unwrap_or_else(|| cut(row(1), columns))
    }

    /// The hosts that were waited for long enough to be named, by any operation, the longest first.
    fn awaited(&self, now: Instant) -> Vec<Awaited> {
        let mut awaited: Vec<Awaited> = Vec::new();
        let mut places: HashMap<&Host, usize> = HashMap::new();
        let old = |running: &&Running| now.saturating_duration_since(running.since) >= WORTH_A_NAME;
        for running in self.running.values().filter(old) {
            let tries = if running.phase == Phase::RollBack { self.tries.of_a_rollback } else { self.tries.usual };
            for (host, way) in running.hosts.iter().filter(|(_, way)| !matches!(way, Way::Through)) {
                let this = || Awaited { host: host.clone(), since: running.since, tries: way.describe(tries, now) };
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
        // Stable: hosts that are waited for equally long stay in their order, those that are tried again come first.
        awaited.sort_by_key(|awaited| (awaited.since, awaited.tries.is_none()));
        awaited
    }
}

impl Running {
    fn new(phase: Phase, since: Instant) -> Self {
        Running { phase, since, hosts: Vec::new(), places: HashMap::new(), through: 0 }
    }

    fn note(&mut self, event: &EventKind, now: Instant) {
        match event {
            EventKind::Participants { hosts, .. } => {
                self.take_part(hosts.iter().cloned());
            }
            EventKind::Answered { host, attempt, .. } => self.turn(host, Way::Asked(*attempt)),
            EventKind::Retrying { host, attempt, delay, .. } => self.turn(host, Way::Again(*attempt, now + *delay)),
            EventKind::Reached { host, .. } => self.turn(host, Way::Through),
            _ => {}
        }
    }

    fn take_part(&mut self, hosts: impl Iterator<Item = Host>) {
        self.hosts = hosts.map(|host| (host, Way::Asked(1))).collect();
        self.places = self.hosts.iter().map(|(host, _)| host.clone()).zip(0..).collect();
        self.through = 0;
    }

    fn turn(&mut self, host: &Host, way: Way) {
        let Some(place) = self.places.get(host) else { return };
        let known = &mut self.hosts[*place].1;
        if !matches!(known, Way::Through) {
            self.through += usize::from(matches!(way, Way::Through));
            *known = way;
        }
    }

    fn row(&self, now: Instant) -> String {
        match (self.phase, doing(self.phase)) {
            (_, Some(doing)) if self.hosts.is_empty() => doing.into(),
            (_, Some(doing)) => format!("{doing}: {} of {} hosts", self.through, self.hosts.len()),
            (Phase::Claim, None) => {
                format!("waiting for the lock of the group, {} s", now.saturating_duration_since(self.since).as_secs())
            }
            (_, None) => "writing the journal".into(),
        }
    }
}

impl Way {
    /// Which try it is, if it is not the first.
    fn describe(self, most: u32, now: Instant) -> Option<String> {
        match self {
            Way::Again(attempt, due) if due > now => {
                let seconds = (due - now).as_secs_f64().ceil();
                Some(format!("try {attempt} of {most} in {seconds:.0} s"))
            }
            Way::Again(attempt, _) | Way::Asked(attempt @ 2..) => Some(format!("try {attempt} of {most}")),
            Way::Asked(_) | Way::Through => None,
        }
    }
}

/// `node33 (try 2 of 3), node71 and 12 more`, with so many names.
fn names(awaited: &[Awaited], most: usize) -> String {
    let name = |awaited: &Awaited| match &awaited.tries {
        Some(tries) => format!("{} ({tries})", awaited.host.authority()),
        None => awaited.host.authority().to_owned(),
    };
    let shown: Vec<String> = awaited.iter().take(most).map(name).collect();
    let more = awaited.len() - shown.len();
    match &shown[..] {
        [first @ .., last] if more == 0 && !first.is_empty() => format!("{} and {last}", first.join(", ")),
        all if more == 0 => all.join(", "),
        all => format!("{} and {more} more", all.join(", ")),
    }
}

/// The phases that a person waits for; the others are over in no time.
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

    fn state(groups: Option<usize>) -> State {
        let tries = Tries { usual: 3, of_a_rollback: 5 };
        State { groups, ended: 0, shown: 0, running: HashMap::new(), tries }
    }

    fn host(number: usize) -> Host {
        Host::parse(format!("http://node{number}:80")).unwrap()
    }

    fn begin(state: &mut State, group: &str, phase: Phase, hosts: usize, now: Instant) {
        let group = GroupId::parse(group).unwrap();
        state.note(&group, &EventKind::entered(phase), now);
        let running = state.running.get_mut(&group).unwrap();
        running.take_part((0..hosts).map(host));
    }

    fn turn(state: &mut State, group: &str, number: usize, way: Way) {
        state.running.get_mut(&GroupId::parse(group).unwrap()).unwrap().turn(&host(number), way);
    }

    #[test]
    fn row_counts_the_hosts_that_are_through_and_names_the_others_after_a_second() {
        let (mut state, begun) = (state(Some(1)), Instant::now());
        begin(&mut state, "g", Phase::Create, 400, begun);
        let after = |ms| begun + Duration::from_millis(ms);
        for number in (0..400).filter(|number| ![33, 71].contains(number)) {
            turn(&mut state, "g", number, Way::Through);
        }
        assert_eq!(state.row(after(999), 80), "  creating: 398 of 400 hosts");
        turn(&mut state, "g", 71, Way::Again(2, after(9_000)));
        assert_eq!(
            state.row(after(2_500), 100),
            "  creating: 398 of 400 hosts; waiting for node71 (try 2 of 3 in 7 s) and node33, 2 s"
        );
    }

    #[test]
    fn names_are_left_out_where_the_row_is_too_short_for_them() {
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
    fn row_of_many_groups_names_who_was_waited_for_longest() {
        let (mut state, begun) = (state(Some(40)), Instant::now());
        assert_eq!(state.row(begun, 80), "  0 of 40 groups; 0 in progress");
        begin(&mut state, "a", Phase::Create, 2, begun);
        begin(&mut state, "b", Phase::RollBack, 2, begun + Duration::from_secs(2));
        turn(&mut state, "a", 0, Way::Through);
        turn(&mut state, "b", 1, Way::Through);
        turn(&mut state, "b", 0, Way::Asked(4));
        let row = state.row(begun + Duration::from_secs(5), 100);
        assert_eq!(row, "  0 of 40 groups; 2 in progress; waiting for node1 and node0 (try 4 of 5), 5 s");
    }

    #[test]
    fn hosts_that_take_no_part_are_not_waited_for() {
        let (mut state, begun) = (state(None), Instant::now());
        begin(&mut state, "g", Phase::RollBack, 1, begun);
        turn(&mut state, "g", 7, Way::Asked(2));
        turn(&mut state, "g", 0, Way::Through);
        turn(&mut state, "g", 0, Way::Asked(1));
        assert_eq!(state.row(begun + Duration::from_secs(9), 80), "  0 groups; 1 in progress");
    }
}
