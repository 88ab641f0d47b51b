//! Floor 3: one request to every host, with its tries. A stage ends when each host has ended.
//!
//! A try without a clear answer is repeated by the retry policy, and so is a check that shows the old state. An answer
//! that says *wait* is repeated until the rollback timeout. After a cancel nothing more is sent, and requests under way
//! complete.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::held::Held;
use crate::api::{self, Action, BodyUse, Reply, Request};
use crate::client::cancel::{Cancel, CancelToken};
use crate::client::exchanges::{Authorized, Awaited, Exchanges};
use crate::client::inner::ClientInner;
use crate::engine::{Completion, Engine, Exchange};
use crate::http::credentials::HeaderLines;
use crate::sync::{AtomicBool, Wake, now};
use crate::values::answer_problem::AnswerProblem;
use crate::values::api::pattern::Meaning;
use crate::values::group::GroupId;
use crate::values::report::Interruption;
use crate::values::usage::Usage;

/// Sends the requests of one probe.
pub(super) struct StageRunner {
    client: Arc<ClientInner>,
    engine: Option<Box<dyn Engine>>,
    exchanges: Exchanges,
    completed: Vec<Completion>,
    stopper: Arc<Stopper>,
    deadline: Option<Instant>,
    random: fastrand::Rng,
}

/// One request to every host.
pub(super) struct StageRequest<'a> {
    pub(super) action: Action,
    pub(super) group: &'a GroupId,
    /// The meaning of an answer that may be out of date.
    pub(super) old_state: Option<Meaning>,
    pub(super) held: &'a Held,
}

/// The tries of one host.
#[derive(Debug, Default)]
pub(super) struct HostTries {
    pub(super) number: u32,
    /// The last reply, if a request was sent.
    pub(super) reply: Option<Reply>,
    pub(super) meaning: Option<Result<Meaning, AnswerProblem>>,
    /// A try before the last one may have taken effect.
    pub(super) was_unclear: bool,
    /// A try may take effect after its end.
    pub(super) may_land_late: bool,
    pub(super) elapsed: Duration,
    /// Number of answers that say wait, or of other repetitions.
    waits: u32,
    repetitions: u32,
    next: NextTry,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum NextTry {
    At(Instant),
    /// A request is under way.
    Awaited,
    #[default]
    Never,
}

/// Ends a probe from another thread.
struct Stopper {
    is_cancelled: AtomicBool,
    waker: Arc<dyn Wake>,
}

impl Cancel for Stopper {
    fn cancel(&self) {
        self.is_cancelled.store(true, Ordering::SeqCst);
        self.waker.wake();
    }
}

impl StageRunner {
    pub(super) fn new(client: &Arc<ClientInner>, token: Option<&CancelToken>, timeout: Option<Duration>) -> Self {
        let engine = client.engines.take();
        let stopper = Arc::new(Stopper { is_cancelled: AtomicBool::default(), waker: engine.waker() });
        if let Some(token) = token {
            let watcher: Arc<dyn Cancel> = Arc::<Stopper>::clone(&stopper);
            token.watch(&watcher);
        }
        StageRunner {
            client: Arc::clone(client),
            engine: Some(engine),
            exchanges: Exchanges::default(),
            completed: Vec::new(),
            stopper,
            deadline: timeout.and_then(|timeout| now().checked_add(timeout)),
            random: fastrand::Rng::new(),
        }
    }

    /// Returns why nothing more is sent, if so.
    pub(super) fn interruption(&self) -> Option<Interruption> {
        if self.stopper.is_cancelled.load(Ordering::SeqCst) {
            return Some(Interruption::Cancelled);
        }
        self.deadline.filter(|deadline| *deadline <= now()).map(|_| Interruption::TimedOut)
    }

    /// Sends the request to every host, and returns when all have ended. The tries are in the order of the hosts.
    pub(super) fn run(&mut self, stage: &StageRequest<'_>) -> Vec<HostTries> {
        let mut request = self.client.api.request(stage.action, stage.group);
        if request.body_use == BodyUse::Unused {
            request.body_use = BodyUse::Hint;
        }
        let request = Arc::new(request);
        let begun = now();
        let mut hosts: Vec<HostTries> = self
            .client
            .cluster
            .iter()
            .map(|_| HostTries { next: NextTry::At(begun), ..HostTries::default() })
            .collect();
        loop {
            let is_over = self.interruption().is_some();
            if is_over {
                self.withdraw(&mut hosts);
            }
            let next = self.submit(stage, &request, &mut hosts);
            if hosts.iter().all(|tries| tries.next == NextTry::Never) {
                return hosts;
            }
            let deadline = self.deadline.filter(|_| !is_over);
            self.wait(next.into_iter().chain(deadline).min());
            for Completion { id, reply, usage } in std::mem::take(&mut self.completed) {
                let Some(mut awaited) = self.exchanges.remove(id) else { continue };
                if let Some(exchange) = awaited.renewed(&reply, usage) {
                    self.begin(awaited, exchange);
                    continue;
                }
                self.complete(stage, begun, &mut hosts[awaited.host], reply);
            }
        }
    }

    /// Blocks for this time, also after a cancel.
    pub(super) fn sleep(&mut self, time: Duration) {
        let until = now() + time;
        while now() < until {
            self.wait(Some(until));
        }
    }

    fn wait(&mut self, until: Option<Instant>) {
        if let Some(engine) = &mut self.engine {
            engine.wait(until, &mut self.completed);
        }
    }

    /// Ends the hosts without a request under way, and withdraws the requests that have not begun.
    fn withdraw(&mut self, hosts: &mut [HostTries]) {
        for tries in hosts.iter_mut().filter(|tries| tries.next != NextTry::Awaited) {
            tries.next = NextTry::Never;
        }
        if let Some(engine) = &mut self.engine {
            engine.withdraw(&|_| true);
        }
    }

    /// Submits the requests that are due. Returns the time of the next one.
    fn submit(&mut self, stage: &StageRequest<'_>, request: &Arc<Request>, hosts: &mut [HostTries]) -> Option<Instant> {
        let mut next = None;
        for (host, tries) in hosts.iter_mut().enumerate() {
            let NextTry::At(time) = tries.next else { continue };
            if !self.engine.as_ref().is_some_and(|engine| engine.has_room()) {
                // A completion makes room.
                return None;
            }
            if time > now() {
                next = next.into_iter().chain([time]).min();
                continue;
            }
            (tries.next, tries.number) = (NextTry::Awaited, tries.number + 1);
            let exchange = Exchange {
                id: 0,
                host,
                request: Arc::clone(request),
                only_reads: stage.action == Action::Check,
                credentials: HeaderLines::default(),
                timeout: self.client.limits.request_timeout,
                not_after: stage.held.holds_until().filter(|_| stage.action != Action::Check),
            };
            let credentials = self.client.credentials.of(&self.client.cluster[host]);
            let (exchange, authorized) = Authorized::of(exchange, credentials);
            self.begin(Awaited { slot: 0, host, action: stage.action, authorized, spent: Usage::default() }, exchange);
        }
        next
    }

    fn begin(&mut self, awaited: Awaited, exchange: Exchange) {
        let id = self.exchanges.add(awaited);
        if let Some(engine) = &mut self.engine {
            engine.submit(Exchange { id, ..exchange });
        }
    }

    fn complete(&mut self, stage: &StageRequest<'_>, begun: Instant, tries: &mut HostTries, reply: Reply) {
        let classified = api::classify(&self.client.api, stage.action, stage.group, reply.clone());
        tries.elapsed = begun.elapsed();
        tries.may_land_late |= classified.may_land_late();
        tries.meaning = match &reply {
            Reply::Answered { status, body, .. } => {
                Some(api::meaning(&self.client.api, stage.action, stage.group, *status, body))
            }
            _ => None,
        };
        tries.reply = Some(reply);
        tries.next = match self.delay(stage, begun, tries, classified.retry_after) {
            Some(delay) if self.interruption().is_none() => {
                tries.was_unclear |= classified.is_ambiguous();
                NextTry::At(now() + delay)
            }
            _ => NextTry::Never,
        };
    }

    /// Returns the delay before the next try, if there is one.
    fn delay(
        &mut self,
        stage: &StageRequest<'_>,
        begun: Instant,
        tries: &mut HostTries,
        asked: Option<Duration>,
    ) -> Option<Duration> {
        let limits = &self.client.limits;
        match tries.meaning {
            Some(Ok(Meaning::Wait)) => {
                let end = self.deadline.into_iter().chain(begun.checked_add(limits.rollback_timeout)).min();
                let left = end.map_or(limits.rollback_timeout, |end| end.saturating_duration_since(now()));
                let delay = limits.retry.backoff_within(left, tries.waits, asked, &mut self.random);
                tries.waits += 1;
                (delay < left).then_some(delay)
            }
            None | Some(Ok(Meaning::Retry) | Err(AnswerProblem::BodyCut)) => self.repeat(tries, asked),
            Some(Ok(meaning)) if stage.old_state == Some(meaning) => self.repeat(tries, asked),
            Some(_) => None,
        }
    }

    fn repeat(&mut self, tries: &mut HostTries, asked: Option<Duration>) -> Option<Duration> {
        let delay = self.client.limits.retry.delay(tries.repetitions, asked, &mut self.random)?;
        tries.repetitions += 1;
        Some(delay)
    }
}

impl Drop for StageRunner {
    fn drop(&mut self) {
        if let Some(engine) = self.engine.take().filter(|_| self.exchanges.is_empty()) {
            self.client.engines.put_back(engine);
        }
    }
}
