//! The queue of delayed answers. All have one delay, so they are sent in the order of their requests.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

use crate::http::Answer;

/// Answers due this soon are sent with those that are due, which saves a timer for each answer.
const SLACK: Duration = Duration::from_micros(100);

/// An answer and its connection.
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

    /// Sets the timer, which also clears its readiness, so that epoll reports it again.
    pub(crate) fn finish_batch(&mut self) -> io::Result<()> {
        match self.queue.front() {
            Some((due, _)) => self.arm(due.saturating_duration_since(Instant::now())),
            None => Ok(()),
        }
    }

    fn arm(&self, after: Duration) -> io::Result<()> {
        // A time of zero disarms the timer.
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
