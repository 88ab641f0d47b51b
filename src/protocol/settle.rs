//! The waits of the settle time between two phases. The wait of one host is in `round.rs`.

use std::time::Duration;

use super::participant::Goal;
use super::{AfterSettle, Machine, Rules};
use crate::values::event::Phase;

impl<R: Rules> Machine<R> {
    /// The time after which no POST of ours can take effect.
    pub(super) fn posts_settle_at(&self) -> Duration {
        let late = self.participants.iter().filter_map(|participant| participant.late_post).max();
        late.filter(|_| R::waits_for_late_posts()).map_or(self.now, |ended| ended + self.limits.settle)
    }

    /// The time after which every replica shows the changes of this pass.
    pub(super) fn changes_settle_at(&self) -> Duration {
        let changed = self.participants.iter().filter_map(|participant| participant.changed).max();
        changed.filter(|_| R::settles_after_recovery()).map_or(self.now, |changed| changed + self.limits.settle)
    }

    pub(super) fn has_unsettled_post(&self, host: usize) -> bool {
        self.participants[host].late_post.is_some_and(|ended| self.now < ended + self.limits.settle)
    }

    /// Waits until this time. The deadline of the operation moves by the length of the wait.
    pub(super) fn begin_settle(&mut self, next: AfterSettle, until: Duration) {
        self.after_settle = next;
        if until <= self.now {
            return self.end_settle();
        }
        self.deadline = self.deadline.map(|end| end.saturating_add(until.saturating_sub(self.now)));
        self.not_before = until;
        self.enter(Phase::Settle);
    }

    pub(super) fn end_settle(&mut self) {
        match self.after_settle {
            AfterSettle::Probe => self.begin_round(Phase::Probe, |_| Some(Goal::Probe)),
            AfterSettle::Commit => self.enter(Phase::Commit),
            AfterSettle::Finish => self.enter(Phase::Finish),
            AfterSettle::Operation => self.begin_operation(),
        }
    }
}
