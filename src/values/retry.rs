//! Floor 1: retries. A schedule is data: a bounded sequence of delays. Its jitter comes from a generator that is passed
//! in.

use std::time::Duration;

use ::retry::delay::Exponential;

use crate::values::config::ConfigError;
use crate::values::time::in_units;

/// Number of tries of a request, and the delays between them.
///
/// The delay before try number n + 1 is `first_delay * factor^(n - 1)`, at most `max_delay`. With jitter, a random part
/// between half and all of it is used, so that many clients do not retry at once (the "equal jitter" of Brooker,
/// *Exponential Backoff And Jitter*, AWS 2015). A longer `Retry-After` of a server is honoured, up to `max_delay`.
///
/// The defaults are those of the Python original. A client checks the bounds in
/// [`ClientBuilder::build`](crate::ClientBuilder::build).
///
/// | setting | default | bounds |
/// | --- | --- | --- |
/// | `attempts` | 3 | 1 to 100 |
/// | `first_delay` | 1 s | 1 ms to 1 h |
/// | `factor` | 2 | 1 to 100 |
/// | `max_delay` | 10 s | `first_delay` to 1 h |
/// | `jitter` | yes | |
///
/// ```
/// use std::time::Duration;
/// use cluster_client::{ClusterClient, RetryPolicy};
///
/// let retry = RetryPolicy::new().with_attempts(5).with_first_delay(Duration::from_millis(50));
/// let client = ClusterClient::builder().hosts(["http://node1:8000"]).retry(retry).build()?;
/// # Ok::<(), cluster_client::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
#[must_use = "a policy does nothing before it is given to a client"]
pub struct RetryPolicy {
    pub(crate) attempts: u32,
    pub(crate) first_delay: Duration,
    pub(crate) factor: f64,
    pub(crate) max_delay: Duration,
    pub(crate) jitter: bool,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        RetryPolicy {
            attempts: 3,
            first_delay: Duration::from_secs(1),
            factor: 2.0,
            max_delay: Duration::from_secs(10),
            jitter: true,
        }
    }
}

const LONGEST: Duration = Duration::from_secs(3600);

impl RetryPolicy {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the number of tries, the first one included: 1 to 100.
    pub fn with_attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts;
        self
    }

    /// Sets the delay before the second try: 1 ms to 1 h.
    pub fn with_first_delay(mut self, delay: Duration) -> Self {
        self.first_delay = delay;
        self
    }

    /// Sets the factor between one delay and the next: 1 to 100.
    pub fn with_factor(mut self, factor: f64) -> Self {
        self.factor = factor;
        self
    }

    /// Sets the maximum delay, which also bounds a `Retry-After`: `first_delay` to 1 h.
    pub fn with_max_delay(mut self, delay: Duration) -> Self {
        self.max_delay = delay;
        self
    }

    /// Sets whether part of each delay is drawn at random.
    pub fn with_jitter(mut self, jitter: bool) -> Self {
        self.jitter = jitter;
        self
    }

    /// Number of tries, the first one included.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// The delay before the second try.
    pub fn first_delay(&self) -> Duration {
        self.first_delay
    }

    /// The factor between one delay and the next.
    pub fn factor(&self) -> f64 {
        self.factor
    }

    /// The maximum delay.
    pub fn max_delay(&self) -> Duration {
        self.max_delay
    }

    /// Whether part of each delay is drawn at random.
    pub fn jitter(&self) -> bool {
        self.jitter
    }

    /// Checks every setting against its bounds.
    ///
    /// # Errors
    /// A [`ConfigError`] that names the first setting out of its bounds.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let refused = |what, value: String, bounds: &str| {
            Err(ConfigError::new(what, value, "is out of bounds", format!("choose {bounds}")))
        };
        if !(1..=100).contains(&self.attempts) {
            return refused("number of attempts", self.attempts.to_string(), "1 to 100");
        }
        if !(Duration::from_millis(1)..=LONGEST).contains(&self.first_delay) {
            return refused("first retry delay", in_units(self.first_delay), "1ms to 1h");
        }
        if !(1.0..=100.0).contains(&self.factor) {
            return refused("retry factor", self.factor.to_string(), "1 to 100");
        }
        if !(self.first_delay..=LONGEST).contains(&self.max_delay) {
            return refused("longest retry delay", in_units(self.max_delay), "the first delay to 1h");
        }
        Ok(())
    }

    /// The delays between the tries of one request.
    pub(crate) fn delays(&self) -> Delays {
        Delays { policy: *self, taken: 0 }
    }

    /// The delay after `taken` earlier ones, or `None` if no retry is left.
    pub(crate) fn delay(&self, taken: u32, asked: Option<Duration>, random: &mut fastrand::Rng) -> Option<Duration> {
        (taken + 1 < self.attempts).then(|| self.backoff(taken, asked, random))
    }

    /// The delay after `taken` earlier ones, whatever the number of attempts.
    pub(crate) fn backoff(&self, taken: u32, asked: Option<Duration>, random: &mut fastrand::Rng) -> Duration {
        let RetryPolicy { first_delay, factor, max_delay, jitter, .. } = *self;
        let first = u64::try_from(first_delay.as_millis()).unwrap_or(u64::MAX);
        let mut backoff = Exponential::from_millis_with_factor(first, factor);
        let full = backoff.nth(taken as usize).unwrap_or(max_delay).min(max_delay);
        let drawn = if jitter { full.mul_f64(random.f64().mul_add(0.5, 0.5)) } else { full };
        drawn.max(asked.unwrap_or_default().min(max_delay))
    }

    /// The delay before a look at something that changes until the time `left` is over. A delay that would outrun it is
    /// half of what is left, so that the last look is near the end. Halves below a quarter of the first delay are not
    /// taken.
    pub(crate) fn backoff_within(
        &self,
        left: Duration,
        taken: u32,
        asked: Option<Duration>,
        random: &mut fastrand::Rng,
    ) -> Duration {
        let (delay, half) = (self.backoff(taken, asked, random), left / 2);
        if delay < left || half < self.first_delay / 4 { delay } else { half }
    }
}

/// The rest of a schedule.
#[derive(Debug, Clone)]
pub(crate) struct Delays {
    policy: RetryPolicy,
    taken: u32,
}

impl Delays {
    /// The delay before the next try, or `None` if no retry is left.
    pub(crate) fn next(&mut self, asked: Option<Duration>, random: &mut fastrand::Rng) -> Option<Duration> {
        let delay = self.policy.delay(self.taken, asked, random)?;
        self.taken += 1;
        Some(delay)
    }
}

/// A token bucket that bounds the retries of a client while its cluster fails. A retry takes a token, an answered
/// request returns a fifth of one, and without a token nothing is retried.
///
/// The ratio is the default of Finagle: retries are at most a fifth of the requests, plus a reserve. Rollbacks have a
/// bucket of their own, so that failing creates cannot use up the retries of their rollbacks.
#[derive(Debug, Clone)]
pub(crate) struct RetryBudget {
    fifths: u32,
    capacity: u32,
}

impl RetryBudget {
    /// Number of tokens of an idle client, beside one for every fifth host.
    pub(crate) const RESERVE: u32 = 100;

    pub(crate) fn new(hosts: usize) -> Self {
        let capacity = Self::RESERVE.saturating_mul(5).saturating_add(u32::try_from(hosts).unwrap_or(u32::MAX));
        RetryBudget { fifths: capacity, capacity }
    }

    pub(crate) fn take(&mut self) -> bool {
        let left = self.fifths.checked_sub(5);
        self.fifths = left.unwrap_or(self.fifths);
        left.is_some()
    }

    pub(crate) fn refund(&mut self) {
        self.fifths = (self.fifths + 1).min(self.capacity);
    }
}

/// The two buckets of a client.
#[derive(Debug, Clone)]
pub(crate) struct RetryBudgets {
    pub(crate) forward: RetryBudget,
    pub(crate) rollback: RetryBudget,
}

impl RetryBudgets {
    pub(crate) fn new(hosts: usize) -> Self {
        RetryBudgets { forward: RetryBudget::new(hosts), rollback: RetryBudget::new(hosts) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(policy: RetryPolicy, asked: Option<Duration>) -> Vec<Duration> {
        let mut random = fastrand::Rng::with_seed(7);
        let mut delays = policy.delays();
        std::iter::from_fn(|| delays.next(asked, &mut random)).collect()
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn delays_double_up_to_the_maximum_and_end() {
        let policy = RetryPolicy { attempts: 7, jitter: false, ..RetryPolicy::default() };
        assert_eq!(schedule(policy, None), [1, 2, 4, 8, 10, 10].map(|s| s * SECOND));
    }

    #[test]
    fn jitter_keeps_half_to_all_of_each_delay() {
        let policy = RetryPolicy { attempts: 100, ..RetryPolicy::default() };
        let drawn = schedule(policy, None);
        let full = schedule(RetryPolicy { jitter: false, ..policy }, None);
        assert!(drawn.iter().zip(&full).all(|(d, f)| *d >= *f / 2 && d <= f));
        assert!(drawn.windows(2).any(|w| w[0] != w[1]), "it is drawn");
    }

    #[test]
    fn retry_after_lengthens_a_delay_up_to_the_maximum() {
        let policy = RetryPolicy { attempts: 3, jitter: false, ..RetryPolicy::default() };
        assert_eq!(schedule(policy, Some(3 * SECOND)), [3, 3].map(|s| s * SECOND));
        assert_eq!(schedule(policy, Some(3600 * SECOND)), [10, 10].map(|s| s * SECOND));
        assert_eq!(schedule(policy, Some(Duration::ZERO)), [1, 2].map(|s| s * SECOND));
    }

    #[test]
    fn settings_out_of_bounds_are_refused() {
        let good = RetryPolicy::default();
        for bad in [
            RetryPolicy { attempts: 0, ..good },
            RetryPolicy { attempts: 101, ..good },
            RetryPolicy { first_delay: Duration::ZERO, ..good },
            RetryPolicy { first_delay: Duration::from_secs(9999), ..good },
            RetryPolicy { factor: f64::NAN, ..good },
            RetryPolicy { factor: 0.5, ..good },
            RetryPolicy { factor: f64::INFINITY, ..good },
            RetryPolicy { max_delay: Duration::from_millis(999), ..good },
            RetryPolicy { max_delay: Duration::MAX, ..good },
        ] {
            assert!(bad.check().is_err(), "{bad:?}");
        }
        assert_eq!(good.check(), Ok(()));
    }

    #[test]
    fn budget_bounds_retries_and_is_refilled_by_answers() {
        let mut budget = RetryBudget::new(0);
        let taken = std::iter::repeat_with(|| budget.take()).take_while(|taken| *taken).count();
        assert_eq!(taken, RetryBudget::RESERVE as usize);
        (0..5).for_each(|_| budget.refund());
        assert!(budget.take() && !budget.take());
    }
}
