//! The locks, threads and clock under loom: those of loom, with additions.
//!
//! *Time* stands still: a `wait_timeout` never times out. A missing notification is therefore a deadlock, which loom
//! reports.
//!
//! *Threads*: a pool starts a loom thread for each task.
//!
//! *Mutants*: the variable `LOOM_PLANT` makes one call site misbehave. The models must detect it.
#![expect(clippy::unnecessary_wraps, clippy::unused_self, reason = "the signatures are those of others")]

use std::cell::Cell;
use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};
use std::panic::Location;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvError, SendError, TryRecvError};
use std::sync::{Arc, LockResult, OnceLock, PoisonError};
use std::time::{Duration, Instant};

pub(crate) use loom::thread::{ThreadId, yield_now};

pub(crate) fn current_thread() -> ThreadId {
    loom::thread::current().id()
}

/// A bug at one line of the code under test: `KIND:FILE:LINE`.
#[derive(Debug)]
struct Plant {
    kind: String,
    file: String,
    line: u32,
}

/// A `notify_all` or `notify_one` does nothing.
const SILENT: &str = "silent";
/// The lock is released and taken again before a wait, as if the condition had been checked without the lock.
const LEAKY: &str = "leaky";
/// An atomic load returns false.
const BLIND: &str = "blind";
/// A thread is not started.
const UNBORN: &str = "unborn";

/// Whether the mutant of this kind is at the line of the caller's caller.
#[track_caller]
fn planted(kind: &str) -> bool {
    static PLANT: OnceLock<Option<Plant>> = OnceLock::new();
    let plant = PLANT.get_or_init(|| {
        let plant = std::env::var("LOOM_PLANT").ok()?;
        let parts: Vec<&str> = plant.split(':').collect();
        let [kind, file, line] = parts[..] else { panic!("no plant: {plant}") };
        Some(Plant { kind: kind.into(), file: file.into(), line: line.parse().expect("a line number") })
    });
    let at = Location::caller();
    plant
        .as_ref()
        .is_some_and(|plant| plant.kind == kind && at.line() == plant.line && at.file().ends_with(&plant.file))
}

/// Runs these tests with a mutant of that kind at each line of `source` with that code, one at a time. The tests run
/// in a process of their own, because a mutant may end in a panic within a panic.
///
/// # Panics
/// If there is no such line, or if the tests pass with a mutant.
pub(crate) fn plant(kind: &str, file: &str, source: &str, code: &str, tests: &[&str]) {
    let lines = source.lines().enumerate().filter(|(_, line)| line.contains(code));
    let plants: Vec<_> = lines.map(|(number, _)| format!("{kind}:{file}:{}", number + 1)).collect();
    assert!(!plants.is_empty(), "{file} has no {code}");
    for plant in plants {
        let run = Command::new(std::env::current_exe().expect("the tests"))
            .args(tests)
            .args(["--nocapture", "--test-threads=1"])
            .env("LOOM_PLANT", &plant)
            // Few pre-emptions suffice, and the bound ends the run of an undetected mutant soon.
            .env("LOOM_MAX_PREEMPTIONS", "3")
            .env("RUST_BACKTRACE", "0")
            .output()
            .expect("the tests start");
        let (said, complained) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
        assert!(!run.status.success(), "no model detects {plant}");
        let is_test = |line: &&str| line.starts_with("test ") && !line.starts_with("test result");
        let by = said.lines().rfind(is_test).and_then(|line| line.rsplit("test ").next()).unwrap_or_default();
        let how = complained.lines().find(|line| line.contains("deadlock") || line.contains("assertion"));
        println!("loom: planted {plant}: found by {by}: {}", how.unwrap_or("a panic"));
    }
}

thread_local! {
    // loom runs all threads of a model as coroutines on one thread of the system, so this belongs to one model.
    static MODEL: Cell<(Duration, Model)> = const { Cell::new((Duration::ZERO, Model { threads: true })) };
}

/// The behaviour of the system in one run of a model.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Model {
    /// Whether the system can start threads.
    pub(crate) threads: bool,
}

impl Model {
    fn begin(self) {
        MODEL.set((Duration::ZERO, self));
    }

    pub(crate) fn current() -> Self {
        MODEL.get().1
    }
}

/// Explores every interleaving of `model` with at most that many pre-emptions, for each of these systems.
pub(crate) fn explore(name: &str, systems: &[Model], preemptions: Option<usize>, model: fn()) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(preemptions);
    builder.max_branches = 10_000;
    let runs = Arc::new(AtomicU64::new(0));
    let begun = Instant::now();
    for system in systems.iter().copied() {
        let runs = Arc::clone(&runs);
        builder.check(move || {
            runs.fetch_add(1, Ordering::Relaxed);
            system.begin();
            model();
        });
    }
    let bound = builder.preemption_bound.map_or("all".into(), |bound| format!("preemptions <= {bound}"));
    println!("loom: {name}: {} interleavings ({bound}), {:.1?}", runs.load(Ordering::Relaxed), begun.elapsed());
}

/// loom does not track reads of the time, so code whose order matters must read it under the lock that changes it.
pub(crate) fn now() -> Instant {
    static BEGIN: OnceLock<Instant> = OnceLock::new();
    *BEGIN.get_or_init(Instant::now) + MODEL.get().0
}

#[derive(Debug, Default)]
pub(crate) struct Mutex<T> {
    inner: loom::sync::Mutex<T>,
}

pub(crate) struct MutexGuard<'a, T> {
    mutex: &'a Mutex<T>,
    /// `None` during a wait.
    inner: Option<loom::sync::MutexGuard<'a, T>>,
}

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Mutex { inner: loom::sync::Mutex::new(value) }
    }

    pub(crate) fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(MutexGuard { mutex: self, inner: Some(inner) })
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        self.inner.as_ref().expect("locked")
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.inner.as_mut().expect("locked")
    }
}

#[derive(Debug, Default)]
pub(crate) struct Condvar {
    inner: loom::sync::Condvar,
    /// Number of notifications, which tells a notification from a timeout.
    rung: AtomicU64,
}

impl Condvar {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    #[track_caller]
    pub(crate) fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> LockResult<MutexGuard<'a, T>> {
        Ok(self.wait_while(leaky(guard), || true))
    }

    #[track_caller]
    pub(crate) fn wait_timeout<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        timeout: Duration,
    ) -> LockResult<(MutexGuard<'a, T>, bool)> {
        let due = now() + timeout;
        let guard = self.wait_while(leaky(guard), || now() < due);
        Ok((guard, now() >= due))
    }

    fn wait_while<'a, T>(&self, mut guard: MutexGuard<'a, T>, early: impl Fn() -> bool) -> MutexGuard<'a, T> {
        let rung = self.rung.load(Ordering::SeqCst);
        while early() && self.rung.load(Ordering::SeqCst) == rung {
            let inner = guard.inner.take().expect("locked");
            guard.inner = Some(self.inner.wait(inner).unwrap_or_else(PoisonError::into_inner));
        }
        guard
    }

    #[track_caller]
    pub(crate) fn notify_one(&self) {
        if !planted(SILENT) {
            self.inner.notify_one();
            self.rung.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[track_caller]
    pub(crate) fn notify_all(&self) {
        if planted(SILENT) {
            return;
        }
        self.inner.notify_all();
        // loom switches threads before a step only, so this is part of the step.
        self.rung.fetch_add(1, Ordering::SeqCst);
    }
}

#[track_caller]
fn leaky<T>(guard: MutexGuard<'_, T>) -> MutexGuard<'_, T> {
    if !planted(LEAKY) {
        return guard;
    }
    let mutex = guard.mutex;
    drop(guard);
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug, Default)]
pub(crate) struct AtomicBool(loom::sync::atomic::AtomicBool);

impl AtomicBool {
    #[track_caller]
    pub(crate) fn load(&self, order: Ordering) -> bool {
        self.0.load(order) && !planted(BLIND)
    }

    pub(crate) fn store(&self, value: bool, order: Ordering) {
        self.0.store(value, order);
    }
}

/// A channel that detects the drop of its last sender, which loom's channel does not.
pub(crate) fn channel<T>() -> (Sender<T>, Receiver<T>) {
    let line = Arc::new(Line::default());
    (Sender::of(&line), Receiver(line))
}

struct Line<T> {
    messages: loom::sync::Mutex<VecDeque<T>>,
    changed: loom::sync::Condvar,
    /// Not tracked by loom: only zero matters, and that is notified under the lock.
    senders: AtomicU64,
}

impl<T> Default for Line<T> {
    fn default() -> Self {
        let (messages, changed) = (loom::sync::Mutex::new(VecDeque::new()), loom::sync::Condvar::new());
        Line { messages, changed, senders: AtomicU64::new(0) }
    }
}

pub(crate) struct Sender<T>(Arc<Line<T>>);

impl<T> Sender<T> {
    fn of(line: &Arc<Line<T>>) -> Self {
        line.senders.fetch_add(1, Ordering::SeqCst);
        Sender(Arc::clone(line))
    }

    pub(crate) fn send(&self, message: T) -> Result<(), SendError<T>> {
        self.0.messages.lock().unwrap().push_back(message);
        self.0.changed.notify_all();
        Ok(())
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Sender::of(&self.0)
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        if self.0.senders.fetch_sub(1, Ordering::SeqCst) == 1 {
            let _messages = self.0.messages.lock().unwrap();
            self.0.changed.notify_all();
        }
    }
}

pub(crate) struct Receiver<T>(Arc<Line<T>>);

impl<T> Receiver<T> {
    pub(crate) fn try_recv(&self) -> Result<T, TryRecvError> {
        self.0.messages.lock().unwrap().pop_front().ok_or(TryRecvError::Empty)
    }

    pub(crate) fn recv(&self) -> Result<T, RecvError> {
        let mut messages = self.0.messages.lock().unwrap();
        loop {
            match messages.pop_front() {
                Some(message) => return Ok(message),
                None if self.0.senders.load(Ordering::SeqCst) == 0 => return Err(RecvError),
                None => messages = self.0.changed.wait(messages).unwrap(),
            }
        }
    }
}

/// Replaces rayon's type.
#[derive(Debug)]
pub(crate) struct ThreadPool(());

impl ThreadPool {
    #[track_caller]
    pub(crate) fn spawn(&self, task: impl FnOnce() + Send + 'static) {
        if !planted(UNBORN) {
            loom::thread::spawn(task);
        }
    }
}

/// Replaces rayon's type.
pub(crate) struct ThreadPoolBuilder(());

impl ThreadPoolBuilder {
    pub(crate) fn new() -> Self {
        ThreadPoolBuilder(())
    }

    pub(crate) fn num_threads(self, _: usize) -> Self {
        self
    }

    pub(crate) fn thread_name(self, _: impl FnMut(usize) -> String) -> Self {
        self
    }

    pub(crate) fn build(self) -> Result<ThreadPool, std::io::Error> {
        if Model::current().threads { Ok(ThreadPool(())) } else { Err(std::io::Error::other("none in this model")) }
    }
}
