//! The parts that the threads of a running node share: its state, the waits for a change of it, and the effect of a request.
//!
//! One mutex guards the state. `changed` is notified after each change of the state. `control` is notified at a stop,
//! at a pause and its end, and for late requests.

use std::{
    net::Shutdown,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use super::{
    fault::{AnswerKind, Apply, Fault, NO_FAULT},
    reply::NodeReply,
    route::{NodeCall, NodePaths},
    state::{NodeState, Statuses},
};

/// Stack size of a thread. The default size would take too much address space for many connections.
pub(super) const STACK: usize = 128 * 1024;

#[derive(Debug)]
pub(super) struct Settings {
    pub(super) paths: NodePaths,
    pub(super) statuses: Statuses,
    pub(super) latency: Duration,
    pub(super) max_connections: usize,
}

#[derive(Debug)]
pub(super) struct Server {
    pub(super) settings: Settings,
    state: Mutex<NodeState>,
    changed: Condvar,
    control: Condvar,
}

impl Server {
    pub(super) fn new(settings: Settings, state: NodeState) -> Self {
        Self { settings, state: Mutex::new(state), changed: Condvar::new(), control: Condvar::new() }
    }

    /// Locks the state, also after a panic: only a condition of `wait_until` can panic, and it only reads.
    pub(super) fn lock(&self) -> MutexGuard<'_, NodeState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notifies the threads in `wait_until` of a change.
    pub(super) fn announce(&self, state: &NodeState) {
        if state.watchers > 0 {
            self.changed.notify_all();
        }
    }

    /// Waits until `condition` holds, at most `timeout`.
    pub(super) fn wait_until(&self, mut condition: impl FnMut(&NodeState) -> bool, timeout: Duration) -> bool {
        let deadline = Instant::now().checked_add(timeout);
        let mut state = self.lock();
        loop {
            if condition(&state) {
                return true;
            }
            let left = match deadline {
                None => Duration::MAX,
                Some(deadline) => deadline.saturating_duration_since(Instant::now()),
            };
            if left.is_zero() {
                return false;
            }
            state.watchers += 1;
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            state.watchers -= 1;
        }
    }

    /// Waits for this time. Returns `None` if the server stops meanwhile.
    pub(super) fn sleep<'a>(
        &'a self,
        state: MutexGuard<'a, NodeState>,
        time: Duration,
    ) -> Option<MutexGuard<'a, NodeState>> {
        if time.is_zero() {
            return Some(state);
        }
        let waited = self.control.wait_timeout_while(state, time, |state| !state.stopped);
        self.wait_open(waited.unwrap_or_else(PoisonError::into_inner).0)
    }

    /// Waits for this time, without a lock. Returns `false` if the server stops meanwhile.
    pub(super) fn pass_time(&self, time: Duration) -> bool {
        self.sleep(self.lock(), time).is_some()
    }

    /// Waits for the end of a pause. Returns `None` if the server stops meanwhile.
    pub(super) fn wait_open<'a>(&'a self, state: MutexGuard<'a, NodeState>) -> Option<MutexGuard<'a, NodeState>> {
        let waited = self.control.wait_while(state, |state| state.paused && !state.stopped);
        let state = waited.unwrap_or_else(PoisonError::into_inner);
        (!state.stopped).then_some(state)
    }

    pub(super) fn set_paused(&self, paused: bool) {
        self.lock().paused = paused;
        self.control.notify_all();
    }

    /// Logs and applies a request, and returns its answer. Returns `None` if the server stops meanwhile.
    pub(super) fn handle(self: &Arc<Self>, call: &NodeCall, connection: u64) -> Option<(NodeReply, Option<Fault>)> {
        let mut state = self.wait_open(self.lock())?;
        let (sequence, fault) = state.arrive(call, connection);
        self.announce(&state);
        let plan = fault.as_ref().unwrap_or(&NO_FAULT);
        state = self.sleep(state, self.settings.latency.saturating_add(plan.before))?;
        let mut reply = self.take_effect(&mut state, call, plan, sequence);
        self.announce(&state);
        state = self.sleep(state, plan.after)?;
        match &plan.answer {
            AnswerKind::Status(status) => reply = NodeReply::injected(*status, None),
            AnswerKind::Redirect(status, location) => {
                reply = NodeReply::injected(*status, Some(location.clone()));
            }
            _ => {}
        }
        if !matches!(plan.answer, AnswerKind::Drop | AnswerKind::Reset | AnswerKind::Mute | AnswerKind::Raw(_)) {
            state.answered(sequence, reply.status);
            self.announce(&state);
        }
        drop(state);
        Some((reply, fault))
    }

    fn take_effect(self: &Arc<Self>, state: &mut NodeState, call: &NodeCall, plan: &Fault, sequence: u64) -> NodeReply {
        let outdated = plan.answer == AnswerKind::Stale;
        let (mut status, change) = state.judge(call, outdated, self.settings.statuses);
        if let (Some(change), Some(group)) = (change, &call.group) {
            match plan.apply {
                Apply::Never => {}
                Apply::Now => {
                    if state.apply(sequence, change, group).is_err() {
                        status = 500;
                    }
                }
                Apply::Late(delay) => {
                    if let Some(due) = Instant::now().checked_add(delay) {
                        state.postpone(due, sequence, change, group);
                        self.serve_late(state);
                    }
                }
            }
        }
        NodeReply::truthful(status, call, state)
    }

    /// Starts the thread for late requests, or notifies it.
    fn serve_late(self: &Arc<Self>, state: &mut NodeState) {
        if state.late_thread {
            self.control.notify_all();
            return;
        }
        let server = Arc::clone(self);
        let spawned =
            thread::Builder::new().name("node late".to_owned()).stack_size(STACK).spawn(move || server.apply_late());
        match spawned {
            Ok(_) => {
                state.late_thread = true;
                state.threads += 1;
            }
            Err(error) => log::warn!("a late request is not applied, no thread for it: {error}"),
        }
    }

    fn apply_late(&self) {
        let mut state = self.lock();
        while !state.stopped {
            if state.paused {
                let waited = self.control.wait(state);
                state = waited.unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let now = Instant::now();
            let Some(next) = state.apply_due(now) else {
                break;
            };
            self.announce(&state);
            let waited = self.control.wait_timeout(state, next.saturating_duration_since(now));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.late_thread = false;
        self.leave(&mut state);
    }

    /// Counts a thread out, as its last step. A stop waits for this.
    pub(super) fn leave(&self, state: &mut NodeState) {
        state.threads -= 1;
        self.announce(state);
        if state.stopped && state.threads == 0 {
            self.control.notify_all();
        }
    }

    /// Ends every connection. No request is applied or answered from the start of this call.
    pub(super) fn stop(&self) {
        {
            let mut state = self.lock();
            state.stopped = true;
            state.late.clear();
            for stream in state.streams.values() {
                let _ = stream.shutdown(Shutdown::Both);
            }
            self.announce(&state);
        }
        self.control.notify_all();
    }

    /// Waits until every thread has ended, after a stop.
    pub(super) fn wait_for_threads(&self) {
        let waited = self.control.wait_while(self.lock(), |state| state.threads > 0);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }
}
