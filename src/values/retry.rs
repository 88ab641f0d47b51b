//! Floor 1: when to try again. A schedule is data: a bounded run of delays, with the jitter drawn from
//! a generator that is handed in.

use std::time::Duration;

use ::retry::delay::Exponential;

use crate::values::config::ConfigError;

/// How often a request is tried, and how long to wait in between.
///
/// The wait before try number n + 1 is `first_delay * factor^(n - 1)`, at most `max_delay`, of which
/// a random part between half and all is used, so that many clients that failed together do not come
/// back together (the "equal jitter" of Brooker, *Exponential Backoff And Jitter*, AWS 2015). A
/// server's `Retry-After` is honoured where it asks for longer, up to `max_delay`.
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

    /// Sets the number of tries in all, the first one included: 1 to 100.
    pub fn with_attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts;
        self
    }

    /// Sets the delay before the second try: 1 ms to 1 h.
    pub fn with_first_delay(mut self, delay: Duration) -> Self {
        self.first_delay = delay;
        self
    }

    /// Sets what each delay is multiplied with to give the next: 1 to 100.
    pub fn with_factor(mut self, factor: f64) -> Self {
        self.factor = factor;
        self
    }

    /// Sets the longest delay, also for a server that asks for more: `first_delay` to 1 h.
    pub fn with_max_delay(mut self, delay: Duration) -> Self {
        self.max_delay = delay;
        self
    }

    /// Sets whether part of each delay is drawn at random.
    pub fn with_jitter(mut self, jitter: bool) -> Self {
        self.jitter = jitter;
        self
    }

    /// The number of tries in all.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// The delay before the second try.
    pub fn first_delay(&self) -> Duration {
        self.first_delay
    }

    /// What each delay is multiplied with to give the next.
    pub fn factor(&self) -> f64 {
        self.factor
    }

    /// The longest delay.
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
    /// A [`ConfigError`] naming the first one outside its bounds.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let refused = |what, value: String, bounds: &str| {
            Err(ConfigError::new(what, value, "is out of bounds", format!("choose {bounds}")))
        };
        if !(1..=100).contains(&self.attempts) {
            return refused("number of attempts", self.attempts.to_string(), "1 to 100");
        }
        if !(Duration::from_millis(1)..=LONGEST).contains(&self.first_delay) {
            return refused("first retry delay", format!("{:?}", self.first_delay), "1ms to 1h");
        }
        if !(1.0..=100.0).contains(&self.factor) {
            return refused("retry factor", self.factor.to_string(), "1 to 100");
        }
        if !(self.first_delay..=LONGEST).contains(&self.max_delay) {
            return refused("longest retry delay", format!("{:?}", self.max_delay), "the first delay to 1h");
        }
        Ok(())
    }

    /// The delays between the tries of one request.
    pub(crate) fn delays(&self) -> Delays {
        Delays { policy: *self, taken: 0 }
    }

    /// The delay after `taken` earlier ones, or `None` when there is none left.
    pub(crate) fn delay(&self, taken: u32, asked: Option<Duration>, random: &mut fastrand::Rng) -> Option<Duration> {
        let RetryPolicy { attempts, first_delay, factor, max_delay, jitter } = *self;
        if taken + 1 >= attempts {
            return None;
        }
        let first = u64::try_from(first_delay.as_millis()).unwrap_or(u64::MAX);
        let mut backoff = Exponential::from_millis_with_factor(first, factor);
        let full = backoff.nth(taken as usize).unwrap_or(max_delay).min(max_delay);
        let drawn = if jitter { full.mul_f64(random.f64().mul_add(0.5, 0.5)) } else { full };
        Some(drawn.max(asked.unwrap_or_default().min(max_delay)))
    }
}

/// What is left of one request's schedule.
#[derive(Debug, Clone)]
pub(crate) struct Delays {
    policy: RetryPolicy,
    taken: u32,
}

impl Delays {
    /// The wait before the next try, or `None` when there is none left.
    pub(crate) fn next(&mut self, asked: Option<Duration>, random: &mut fastrand::Rng) -> Option<Duration> {
        let delay = self.policy.delay(self.taken, asked, random)?;
        self.taken += 1;
        Some(delay)
    }
}

/// A token bucket that keeps a sick cluster from a storm of retries: a retry takes a token, a request
/// that succeeds gives a fifth of one back, and without a token a request is not tried again.
///
/// The ratio is the one that Finagle ships (retries at most a fifth of requests, plus a reserve). One
/// bucket serves all operations of a client, and rollbacks have one of their own, so that a failing
/// round of creates cannot starve the clean-up after it.
#[derive(Debug, Clone)]
pub(crate) struct RetryBudget {
    fifths: u32,
    capacity: u32,
}

impl RetryBudget {
    /// The tokens of an idle client, beside one for every fifth host.
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
    fn delays_double_up_to_the_cap_and_end() {
        let policy = RetryPolicy { attempts: 7, jitter: false, ..RetryPolicy::default() };
        assert_eq!(schedule(policy, None), [1, 2, 4, 8, 10, 10].map(|s| s * SECOND));
    }

    #[test]
    fn jitter_keeps_between_half_and_all() {
        let policy = RetryPolicy { attempts: 100, ..RetryPolicy::default() };
        let drawn = schedule(policy, None);
        let full = schedule(RetryPolicy { jitter: false, ..policy }, None);
        assert!(drawn.iter().zip(&full).all(|(d, f)| *d >= *f / 2 && d <= f));
        assert!(drawn.windows(2).any(|w| w[0] != w[1]), "it is drawn");
    }

    #[test]
    fn retry_after_lengthens_a_delay_up_to_the_cap() {
        let policy = RetryPolicy { attempts: 3, jitter: false, ..RetryPolicy::default() };
        assert_eq!(schedule(policy, Some(3 * SECOND)), [3, 3].map(|s| s * SECOND));
        assert_eq!(schedule(policy, Some(3600 * SECOND)), [10, 10].map(|s| s * SECOND));
        assert_eq!(schedule(policy, Some(Duration::ZERO)), [1, 2].map(|s| s * SECOND));
    }

    #[test]
    fn out_of_bounds_is_refused() {
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
    fn the_budget_bounds_retries_and_fills_again() {
        let mut budget = RetryBudget::new(0);
        let taken = std::iter::repeat_with(|| budget.take()).take_while(|taken| *taken).count();
        assert_eq!(taken, RetryBudget::RESERVE as usize);
        (0..5).for_each(|_| budget.refund());
        assert!(budget.take() && !budget.take());
    }
}
