//! What is shown on standard error while operations run. It is an observer: the library tells, this shows.

use std::collections::HashMap;
use std::io::{self, IsTerminal as _};
use std::sync::{Mutex, PoisonError};

use cluster_client::{Event, GroupId, Host, Observer, Phase};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::args::Shared;
use crate::logging;
use crate::output::say;

/// With more hosts than these a line for each would fill the screen.
const MOST_LINES: usize = 16;

pub(crate) struct Progress {
    mode: Mode,
}

enum Mode {
    Silent,
    /// One line for each phase of an operation.
    Phases,
    /// On a terminal: one line for each host, kept up to date.
    Hosts {
        screen: MultiProgress,
        lines: Mutex<HashMap<Host, ProgressBar>>,
        names: usize,
    },
    /// On a terminal: one bar over many hosts.
    ManyHosts(ProgressBar),
    /// On a terminal: one bar over many groups.
    Groups(ProgressBar),
    /// Elsewhere: a line for each tenth of many groups.
    Tenths {
        done: Mutex<usize>,
        total: usize,
    },
}

impl Progress {
    /// For `groups` operations on these hosts.
    pub(crate) fn new(shared: &Shared, hosts: &[Host], groups: usize) -> Self {
        let live = io::stderr().is_terminal() && !logging::is_on();
        let mode = match (shared.quiet, live, groups) {
            (true, _, _) => Mode::Silent,
            (_, true, 1) if hosts.len() <= MOST_LINES => lines(hosts),
            (_, true, 1) => Mode::ManyHosts(bar(hosts.len(), "hosts")),
            (_, true, _) => Mode::Groups(bar(groups, "groups")),
            (_, false, 1) => Mode::Phases,
            (_, false, total) => Mode::Tenths { done: Mutex::default(), total },
        };
        Progress { mode }
    }

    /// For operations whose number is not known before: a line for each phase.
    pub(crate) fn of_phases(shared: &Shared) -> Self {
        Progress { mode: if shared.quiet { Mode::Silent } else { Mode::Phases } }
    }

    /// Lets `write` write to the terminal without tearing what is shown.
    pub(crate) fn suspend<T>(&self, write: impl FnOnce() -> T) -> T {
        match &self.mode {
            Mode::Hosts { screen, .. } => screen.suspend(write),
            Mode::ManyHosts(bar) | Mode::Groups(bar) => bar.suspend(write),
            Mode::Silent | Mode::Phases | Mode::Tenths { .. } => write(),
        }
    }

    /// Takes everything off the screen; the results come now.
    pub(crate) fn clear(&self) {
        match &self.mode {
            Mode::Hosts { screen, .. } => {
                let _ = screen.clear();
            }
            Mode::ManyHosts(bar) | Mode::Groups(bar) => bar.finish_and_clear(),
            Mode::Silent | Mode::Phases | Mode::Tenths { .. } => {}
        }
    }

    /// One of several groups has its result.
    pub(crate) fn group_ended(&self) {
        match &self.mode {
            Mode::Groups(bar) => bar.inc(1),
            Mode::Tenths { done, total } => {
                let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
                *done += 1;
                if *done * 10 / total > (*done - 1) * 10 / total {
                    say(&format!("{done} of {total} groups"));
                }
            }
            _ => {}
        }
    }
}

fn lines(hosts: &[Host]) -> Mode {
    let names = hosts.iter().map(|host| host.authority().len()).max().unwrap_or(0);
    let screen = MultiProgress::new();
    let lines = hosts.iter().map(|host| (host.clone(), line(&screen, host, names))).collect();
    Mode::Hosts { screen, lines: Mutex::new(lines), names }
}

fn line(screen: &MultiProgress, host: &Host, names: usize) -> ProgressBar {
    let line = screen.add(ProgressBar::new_spinner());
    if let Ok(style) = ProgressStyle::with_template("  {prefix}  {wide_msg}") {
        line.set_style(style);
    }
    line.set_prefix(format!("{:names$}", host.authority()));
    line
}

fn bar(length: usize, of: &str) -> ProgressBar {
    let bar = ProgressBar::new(length as u64);
    if let Ok(style) = ProgressStyle::with_template(&format!("{{bar:32}} {{pos}} of {{len}} {of}  {{msg}}")) {
        bar.set_style(style);
    }
    // Seen before the first group has ended.
    bar.tick();
    bar
}

impl Observer for Progress {
    fn on_event(&self, group: &GroupId, event: &Event) {
        match &self.mode {
            Mode::Silent | Mode::Groups(_) | Mode::Tenths { .. } => {}
            Mode::Phases => {
                if let Event::Entered(phase) = event
                    && let Some(doing) = doing(*phase)
                {
                    say(&format!("{group}: {doing}"));
                }
            }
            Mode::ManyHosts(bar) => follow(bar, event),
            Mode::Hosts { screen, lines, names } => {
                let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some((host, text)) = news(event) {
                    // A recovery may meet hosts that are no longer named.
                    let line = lines.entry(host.clone()).or_insert_with(|| line(screen, host, *names));
                    line.set_message(text);
                } else if let Event::Entered(phase) = event
                    && let Some(doing) = doing(*phase)
                {
                    lines.values().for_each(|line| line.set_message(format!("{doing} ...")));
                }
            }
        }
    }
}

fn follow(bar: &ProgressBar, event: &Event) {
    match event {
        Event::Entered(phase) => {
            if let Some(doing) = doing(*phase) {
                bar.set_position(0);
                bar.set_message(doing);
            }
        }
        Event::Reached { .. } => bar.inc(1),
        _ => {}
    }
}

/// The phases that a person waits for; the journal's are over in no time.
fn doing(phase: Phase) -> Option<&'static str> {
    match phase {
        Phase::Probe => Some("asking the hosts"),
        Phase::Create => Some("creating"),
        Phase::RollBack => Some("rolling back"),
        Phase::Delete => Some("deleting"),
        _ => None,
    }
}

fn news(event: &Event) -> Option<(&Host, String)> {
    match event {
        Event::Answered { host, action, succeeded, answer, .. } => {
            let text = if *succeeded { format!("{action}: yes") } else { format!("{action}: {answer}") };
            Some((host, text))
        }
        Event::Retrying { host, action, attempt, delay, .. } => {
            Some((host, format!("{action} again in {:.1} s (try {attempt})", delay.as_secs_f64())))
        }
        Event::Reached { host, state, .. } => Some((host, state.to_string())),
        _ => None,
    }
}
