//! The driver's seat: holds the parts of a driver while no thread drives, and the state that the threads share.

use std::collections::VecDeque;
use std::time::Instant;

use super::Driver;
use super::lock;
use crate::client::operations::Ended;
use crate::client::parts::Parts;
use crate::sync::{ThreadId, current_thread, now};
use crate::values::event::Event;

/// The seat. Its lock is held briefly, never while a thread drives.
pub(super) struct Seat {
    /// Absent while a thread drives.
    pub(super) parts: Option<Box<Parts>>,
    /// The thread that calls an observer. Meanwhile no other thread takes the parts.
    pub(super) emitter: Option<ThreadId>,
    /// Events of nested calls, which the emitter delivers after its own.
    pub(super) queued_events: Vec<Event>,
    pub(super) ended: VecDeque<Ended>,
    /// Number of operations that were added and have not ended.
    pub(super) open: usize,
    /// The caller blocks until there is a result, while another thread drives.
    pub(super) is_wanted: bool,
    /// Threads that complete exchanges will take the seat, so no thread has to block in it.
    pub(super) is_attended: bool,
    /// A thread blocks in the seat.
    pub(super) is_watched: bool,
    /// The time at which the caller left.
    pub(super) left: Instant,
    pub(super) relief: Relief,
    pub(super) is_over: bool,
    /// The thread that drove has panicked, which is a bug.
    pub(super) is_broken: bool,
}

/// The thread of the pool that takes the seat when the caller stays away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Relief {
    None,
    /// Blocked until it is notified.
    Parked,
    /// Blocked for `GRACE`, or driving.
    Alert,
}

impl Seat {
    pub(super) fn new(parts: Box<Parts>) -> Self {
        Seat {
            parts: Some(parts),
            emitter: None,
            queued_events: Vec::new(),
            ended: VecDeque::new(),
            open: 0,
            is_wanted: false,
            is_attended: false,
            is_watched: false,
            left: now(),
            relief: Relief::None,
            is_over: false,
            is_broken: false,
        }
    }

    /// Returns whether no thread drives and no observer is being called.
    pub(super) fn is_free(&self) -> bool {
        self.parts.is_some() && self.emitter.is_none()
    }

    pub(super) fn take_parts(&mut self) -> Option<Box<Parts>> {
        if self.emitter.is_some_and(|emitter| emitter != current_thread()) {
            return None;
        }
        self.parts.take()
    }
}

/// Marks the seat as broken if the thread that drives panics. Otherwise the other threads would block forever.
pub(super) struct Watch<'a> {
    pub(super) driver: &'a Driver,
    pub(super) is_driving: bool,
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        if self.is_driving {
            lock(&self.driver.seat).is_broken = true;
            self.driver.changed.notify_all();
        }
    }
}
