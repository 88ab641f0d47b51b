//! The driver's seat: where the parts of a driver wait while no thread drives, and what threads agree on there.

use std::collections::VecDeque;
use std::time::Instant;

use super::Driver;
use super::lock;
use crate::client::operations::Ended;
use crate::client::parts::Parts;
use crate::sync::{ThreadId, current_thread, now};
use crate::values::event::Event;
use crate::values::group::GroupId;

/// The seat. It is locked for moments only, never while a thread drives.
pub(super) struct Seat {
    /// Absent while a thread drives.
    pub(super) parts: Option<Box<Parts>>,
    /// The thread that calls an observer. No other takes the seat meanwhile.
    pub(super) emitter: Option<ThreadId>,
    /// What an observer that drives has yet to be told.
    pub(super) passed_on: Vec<(GroupId, Event)>,
    pub(super) ended: VecDeque<Ended>,
    /// Operations that were added and have not ended.
    pub(super) open: usize,
    /// The caller waits for a result while another thread drives.
    pub(super) is_wanted: bool,
    /// Threads that complete exchanges come to the seat, so that nobody has to wait in it.
    pub(super) is_attended: bool,
    /// A thread waits in the seat.
    pub(super) is_watched: bool,
    /// When the seat became empty.
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
            passed_on: Vec::new(),
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

    /// Whether nobody drives, and no observer is told something.
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

/// Says so if the thread that drives panics: whoever waits would wait for ever.
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
