//! The relief: a thread of the pool that takes the seat when the caller of a bulk stays away.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::seat::{Relief, Seat};
use super::{Driver, Role, lock};
use crate::sync::now;

/// Time from the leave of the caller until the relief takes the seat.
const GRACE: Duration = Duration::from_millis(1);

impl Driver {
    /// Notes that the caller has left the seat, and has a thread of the pool take it after [`GRACE`].
    pub(super) fn leave(self: &Arc<Self>, seat: &mut Seat) {
        seat.left = now();
        if self.is_single || seat.open == 0 || seat.is_attended {
            return;
        }
        match seat.relief {
            Relief::Alert => {}
            Relief::Parked => self.changed.notify_all(),
            Relief::None => {
                seat.relief = Relief::Alert;
                let driver = Arc::clone(self);
                if self.client.pool.spawn(Box::new(move || driver.relieve())).is_err() {
                    // Without threads, there is progress only while the caller waits.
                    seat.relief = Relief::None;
                }
            }
        }
    }

    /// Takes the seat whenever the caller stays away.
    fn relieve(self: &Arc<Self>) {
        let mut seat = lock(&self.seat);
        while !seat.is_over && !seat.is_broken {
            if !seat.is_free() || seat.open == 0 || seat.is_attended {
                seat.relief = Relief::Parked;
                seat = self.changed.wait(seat).unwrap_or_else(PoisonError::into_inner);
                seat.relief = Relief::Alert;
                continue;
            }
            let away = now().saturating_duration_since(seat.left);
            if away < GRACE {
                let wait = self.changed.wait_timeout(seat, GRACE.saturating_sub(away));
                seat = wait.unwrap_or_else(PoisonError::into_inner).0;
                continue;
            }
            if let Some(parts) = seat.take_parts() {
                drop(seat);
                let (left, has_run) = self.drive_and_run(parts, Role::Relief);
                seat = left;
                if !has_run {
                    // The caller may block for a result: give it time to take the seat.
                    seat.left = now();
                }
                self.changed.notify_all();
            }
        }
        seat.relief = Relief::None;
    }
}
