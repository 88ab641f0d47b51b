//! How many threads are worth having: the one decision about performance, in one place.
//!
//! A thread more costs a wake-up, some 50 µs until it runs; a core, where there is none to spare; and a cold
//! cache. It gains what would else be spent waiting. Three cases, measured on 2 cores shared with the servers:
//!
//! * *Answers within 25 µs.* The servers are on this machine and its cores never sleep: client and server take
//!   turns at no cost, and any other thread is in the way. One thread does it all.
//! * *Near.* Each request leaves a core asleep until the answer is there, and waking a core takes longer than
//!   the work. A few threads keep the cores awake: 4 to 16 were equally good, five times faster than one.
//! * *Far.* Who waits takes no core: as many threads as requests, up to what the cores could serve.
//!
//! How far the hosts are is what the quickest of the last answers took. Longer times say nothing, because a
//! request takes longer the more others are under way: a crew that followed them would grow because it has
//! grown.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Waits;

/// Measures, and says whether another thread would help.
#[derive(Debug, Default)]
pub(super) struct Pace {
    gauges: Mutex<Gauges>,
}

#[derive(Debug)]
struct Gauges {
    /// Requests under way that are not expected to hold their threads up, and have not told of it.
    busy: u32,
    nearest: Nearest,
    /// Requests that began while there was no other.
    begun_alone: u32,
    /// About what a request takes while there is no other.
    alone: Duration,
    /// About the most that the store takes: one on a disk syncs it.
    store: Duration,
}

/// What was thought of a job when it began.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outlook {
    waits: Waits,
    alone: bool,
    /// So many threads more would help, if there is work for them.
    pub(super) more: usize,
    /// The job will hold its thread up, and not tell of it.
    pub(super) is_long: bool,
}

/// What it takes at least to wake a thread.
const WAKE: Duration = Duration::from_micros(25);
/// Taken for the time of a lonely request until it is known. A few trials bring it below [`WAKE`].
const NOT_ALONE: Duration = Duration::from_micros(100);
/// One in so many requests that begin an operation is left alone, so that it is known what that takes.
const TRIAL: u32 = 16;
/// As many are worth having however near the hosts are.
const FEW: u32 = 8;
/// What a request costs the cores, at the least: where an answer takes so many times as long, more threads
/// than that would have to wait for a core.
const COST: Duration = Duration::from_micros(10);
/// Requests to hosts farther than this hold their threads up, and need not tell of it. Others do: see
/// [`Stalled`](crate::engine::threads::transport::Stalled).
const LONG: Duration = Duration::from_millis(4);

impl Default for Gauges {
    fn default() -> Self {
        Gauges { busy: 0, nearest: Nearest::default(), begun_alone: 0, alone: NOT_ALONE, store: LONG }
    }
}

impl Pace {
    pub(super) fn begin(&self, waits: Waits) -> Outlook {
        let mut gauges = self.gauges();
        if waits != Waits::ForHost {
            let is_long = gauges.store > WAKE;
            return Outlook { waits, alone: false, more: usize::from(is_long), is_long };
        }
        let worthwhile = gauges.worthwhile();
        if worthwhile > 1 && gauges.nearest.time() >= LONG {
            // Whoever waits that long is in nobody's way; the number of threads is bound enough.
            return Outlook { waits, alone: false, more: usize::MAX, is_long: true };
        }
        gauges.busy += 1;
        let alone = gauges.busy == 1;
        gauges.begun_alone = gauges.begun_alone.wrapping_add(u32::from(alone));
        let is_trial = alone && gauges.begun_alone.is_multiple_of(TRIAL);
        let more = if is_trial { 0 } else { worthwhile.saturating_sub(gauges.busy) as usize };
        Outlook { waits, alone, more, is_long: false }
    }

    /// A job that did not look long holds its thread up.
    pub(super) fn stalled(&self) {
        let mut gauges = self.gauges();
        gauges.busy -= 1;
        gauges.alone = gauges.alone.max(NOT_ALONE);
    }

    /// A job has ended; `answered` if a host answered it, and in what time.
    pub(super) fn end(&self, outlook: Outlook, stalled: bool, took: Duration, answered: Option<Duration>) {
        let mut gauges = self.gauges();
        if outlook.waits == Waits::ForStore {
            gauges.store = took.max(gauges.store.mul_f32(15.0 / 16.0));
            return;
        }
        gauges.busy -= u32::from(!stalled && !outlook.is_long);
        let Some(answered) = answered else { return };
        gauges.nearest.note(answered);
        if outlook.alone && gauges.busy == 0 {
            // About the median: what took longer lifts it as far as what did not lowers it.
            gauges.alone = gauges.alone.mul_f32(if answered > gauges.alone { 1.2 } else { 0.8 });
        }
    }

    /// Whether a thread that is in no job might as well not be there.
    pub(super) fn wants_fewer(&self) -> bool {
        let gauges = self.gauges();
        gauges.busy >= gauges.worthwhile()
    }

    fn gauges(&self) -> MutexGuard<'_, Gauges> {
        self.gauges.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gauges {
    /// So many requests at a time are worth a thread each.
    fn worthwhile(&self) -> u32 {
        if self.alone < WAKE {
            return 1;
        }
        let times = self.nearest.time().as_nanos() / COST.as_nanos();
        u32::try_from(times).unwrap_or(u32::MAX).max(FEW)
    }
}

/// What the quickest answers took of late. The third of 64, because now and then one is quicker than can be,
/// and one host may be nearer than the others.
#[derive(Debug)]
struct Nearest {
    /// In the window before.
    before: Duration,
    quickest: [Duration; 3],
    seen: u32,
}

const WINDOW: u32 = 64;

impl Default for Nearest {
    fn default() -> Self {
        Nearest { before: Duration::MAX, quickest: [Duration::MAX; 3], seen: 0 }
    }
}

impl Nearest {
    /// As if far, before anything is known.
    fn time(&self) -> Duration {
        self.before.min(self.quickest[2])
    }

    fn note(&mut self, took: Duration) {
        let [first, second, third] = self.quickest;
        self.quickest = [first.min(took), second.min(took.max(first)), third.min(took.max(second))];
        self.seen += 1;
        if self.seen == WINDOW {
            *self = Nearest { before: self.quickest[2], ..Nearest::default() };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: Duration = Duration::from_micros(1);

    /// One request after the other, each answered in that time.
    fn one_by_one(pace: &Pace, requests: u32, took: Duration) {
        for _ in 0..requests {
            let outlook = pace.begin(Waits::ForHost);
            pace.end(outlook, false, took, Some(took));
        }
    }

    /// How many requests at a time look worth a thread each.
    fn worthwhile(pace: &Pace) -> usize {
        pace.gauges().worthwhile() as usize
    }

    #[test]
    fn the_first_requests_get_a_thread_each() {
        let pace = Pace::default();
        for _ in 0..1024 {
            assert!(pace.begin(Waits::ForHost).more > 0);
        }
    }

    #[test]
    fn near_hosts_are_worth_a_few_threads_however_long_their_queue() {
        let pace = Pace::default();
        one_by_one(&pace, WINDOW, 60 * US);
        assert_eq!(worthwhile(&pace), 8);
        // What the 8 threads themselves make of it: each request waits for the others.
        one_by_one(&pace, 10, 60 * US);
        one_by_one(&pace, 1000, 900 * US);
        assert!(worthwhile(&pace) <= 90, "no more than would be worth it if all were that far");
        for _ in 0..10 {
            one_by_one(&pace, 3, 60 * US);
            one_by_one(&pace, 61, 900 * US);
            assert_eq!(worthwhile(&pace), 8);
        }
    }

    #[test]
    fn far_hosts_are_worth_as_many_as_the_cores_can_serve() {
        let pace = Pace::default();
        one_by_one(&pace, WINDOW, Duration::from_millis(1));
        assert_eq!(worthwhile(&pace), 100);
        one_by_one(&pace, 2 * WINDOW, Duration::from_millis(20));
        assert_eq!(worthwhile(&pace), 2000);
        for _ in 0..5000 {
            let outlook = pace.begin(Waits::ForHost);
            assert!(outlook.is_long && outlook.more > 0, "none tells of being held up, so each calls up another");
        }
    }

    #[test]
    fn an_answer_within_the_time_of_a_wake_up_is_worth_nobody_else() {
        let pace = Pace::default();
        one_by_one(&pace, WINDOW, 10 * US);
        assert_eq!(pace.begin(Waits::ForHost).more, 0);
        pace.stalled();
        assert!(pace.begin(Waits::ForHost).more > 0, "until one does not come");
    }

    /// With others beside it a request says nothing of what it would take alone.
    #[test]
    fn some_requests_are_left_alone_to_know_what_that_takes() {
        let pace = Pace::default();
        one_by_one(&pace, WINDOW, 60 * US);
        let starts: Vec<_> = (0..3 * TRIAL)
            .map(|_| {
                let outlook = pace.begin(Waits::ForHost);
                pace.end(outlook, false, 60 * US, None);
                outlook.more
            })
            .collect();
        assert_eq!(starts.iter().filter(|more| **more == 0).count(), 3);
    }

    /// A host that refuses at once is not near.
    #[test]
    fn what_is_not_answered_says_nothing_of_the_distance() {
        let pace = Pace::default();
        one_by_one(&pace, WINDOW, Duration::from_millis(20));
        for _ in 0..1000 {
            let outlook = pace.begin(Waits::ForHost);
            pace.end(outlook, false, 20 * US, None);
        }
        assert_eq!(worthwhile(&pace), 2000);
    }

    #[test]
    fn a_request_that_stalls_makes_room_for_another() {
        let pace = Pace::default();
        one_by_one(&pace, WINDOW, 60 * US);
        let outlooks: Vec<_> = (0..8).map(|_| pace.begin(Waits::ForHost)).collect();
        assert!(pace.wants_fewer());
        pace.stalled();
        assert!(!pace.wants_fewer());
        pace.end(outlooks[0], true, LONG, None);
        assert!(!pace.wants_fewer());
        outlooks[1..].iter().for_each(|outlook| pace.end(*outlook, false, LONG, None));
        assert_eq!(pace.gauges().busy, 0);
    }

    #[test]
    fn a_store_that_takes_its_time_gets_a_thread_of_its_own() {
        let pace = Pace::default();
        let slow = pace.begin(Waits::ForStore);
        assert!(slow.is_long && slow.more > 0, "as long as nothing is known");
        for _ in 0..200 {
            let outlook = pace.begin(Waits::ForStore);
            pace.end(outlook, false, US, None);
        }
        assert!(!pace.begin(Waits::ForStore).is_long);
        pace.end(slow, false, 300 * US, None);
        assert!(pace.begin(Waits::ForStore).is_long);
    }
}
