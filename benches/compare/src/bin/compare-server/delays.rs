//! The answers that wait for their time. The delay is the same for all, so they leave in the order they came.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

use crate::http::Answer;

/// Answers due this soon go along with those that are due: it saves a timer per answer.
const SLACK: Duration = Duration::from_micros(100);

/// An answer and whom it is for.
pub(crate) struct Delayed {
    pub(crate) connection: usize,
    pub(crate) generation: u64,
    pub(crate) answer: Answer,
}

/// A queue with a timer of its own: epoll's timeout counts only whole milliseconds.
pub(crate) struct Delays {
    delay: Duration,
    queue: VecDeque<(Instant, Delayed)>,
    timer: OwnedFd,
    now: Instant,
}

impl Delays {
    pub(crate) fn new(delay: Duration) -> io::Result<Self> {
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK.union(TimerfdFlags::CLOEXEC))?;
        Ok(Self { delay, queue: VecDeque::new(), timer, now: Instant::now() })
    }

    pub(crate) fn timer_fd(&self) -> RawFd {
        self.timer.as_raw_fd()
    }

    pub(crate) fn is_zero(&self) -> bool {
        self.delay.is_zero()
    }

    pub(crate) fn push(&mut self, delayed: Delayed) -> io::Result<()> {
        self.queue.push_back((Instant::now() + self.delay, delayed));
        if self.queue.len() == 1 { self.arm(self.delay) } else { Ok(()) }
    }

    pub(crate) fn start_batch(&mut self) {
        self.now = Instant::now();
    }

    pub(crate) fn pop_due(&mut self) -> Option<Delayed> {
        let (due, _) = self.queue.front()?;
        if *due > self.now + SLACK {
            return None;
        }
        self.queue.pop_front().map(|(_, delayed)| delayed)
    }

    /// Setting the timer again also clears its readiness, so that it is told anew.
    pub(crate) fn finish_batch(&mut self) -> io::Result<()> {
        match self.queue.front() {
            Some((due, _)) => self.arm(due.saturating_duration_since(Instant::now())),
            None => Ok(()),
        }
    }

    fn arm(&self, after: Duration) -> io::Result<()> {
        // A time of zero would turn the timer off.
        let after = after.max(Duration::from_nanos(1));
        let value = Timespec {
            tv_sec: i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(after.subsec_nanos()),
        };
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once)?;
        Ok(())
    }
}
