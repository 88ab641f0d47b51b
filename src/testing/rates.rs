//! Random faults, reproducible by their seed.

use std::{io, time::Duration};

use super::{fault::Fault, route::Method};

/// The probabilities of random faults, each from 0 to 1.
///
/// The faults are drawn from the node's seed, once per request in the order of arrival. Equal seeds, rates and orders
/// give equal faults. The rates above `delay` exclude each other, so their sum is at most 1; `delay` and `stale` are
/// independent. A scripted [`Fault`] takes precedence over a drawn one.
///
/// ```
/// use cluster_client::testing::{Node, Rates};
/// # fn main() -> std::io::Result<()> {
/// let rates = Rates { error: 0.1, drop_after: 0.05, ..Rates::default() };
/// let node = Node::builder().seed(7).rates(rates).start()?;
/// assert!(Node::builder().rates(Rates { error: 1.5, ..rates }).start().is_err());
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates {
    /// A 500, 502, 503, 504 or 429 without applying the request.
    pub error: f64,
    /// A 500, 502, 503, 504 or 429 although the request was applied.
    pub error_after_apply: f64,
    /// A 400 without applying the request.
    pub bad_request: f64,
    /// The connection is closed without applying the request.
    pub drop_before: f64,
    /// The connection is closed after applying the request.
    pub drop_after: f64,
    /// No answer, and the request is not applied.
    pub mute: f64,
    /// The connection is closed, and the request is applied up to `max_delay` later.
    pub apply_late: f64,
    /// A delay of up to `max_delay`, before or after the request is applied, each in half of the cases.
    pub delay: f64,
    /// A GET is answered as if the last change of its group had not happened.
    pub stale: f64,
    /// The only method whose requests get these faults. `None`, the default, means every method.
    pub only: Option<Method>,
    /// The maximum of the delays that `delay` and `apply_late` draw. 100 ms by default.
    pub max_delay: Duration,
}

/// No faults.
impl Default for Rates {
    fn default() -> Self {
        Self {
            error: 0.0,
            error_after_apply: 0.0,
            bad_request: 0.0,
            drop_before: 0.0,
            drop_after: 0.0,
            mute: 0.0,
            apply_late: 0.0,
            delay: 0.0,
            stale: 0.0,
            only: None,
            max_delay: Duration::from_millis(100),
        }
    }
}

const OVERLOADED: [u16; 5] = [500, 502, 503, 504, 429];

impl Rates {
    fn exclusive(&self) -> [(&'static str, f64); 7] {
        [
            ("error", self.error),
            ("error_after_apply", self.error_after_apply),
            ("bad_request", self.bad_request),
            ("drop_before", self.drop_before),
            ("drop_after", self.drop_after),
            ("mute", self.mute),
            ("apply_late", self.apply_late),
        ]
    }

    /// Checks the rates. Returns `None` if all are zero.
    pub(super) fn validated(self) -> io::Result<Option<Self>> {
        let refused = |message| Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        let independent = [("delay", self.delay), ("stale", self.stale)];
        for (name, rate) in self.exclusive().into_iter().chain(independent) {
            if !(0.0..=1.0).contains(&rate) {
                return refused(format!("the rate {name} is {rate}, not within 0 to 1"));
            }
        }
        let sum: f64 = self.exclusive().iter().map(|(_, rate)| rate).sum();
        // Allow for rounding: ten times 0.1 adds up to slightly more than 1.
        if sum > 1.0 + 1e-9 {
            return refused(format!("the rates of faults that exclude each other add up to {sum}"));
        }
        let harmless = sum + self.delay + self.stale <= 0.0;
        Ok((!harmless).then_some(self))
    }

    /// Draws a fault for a request of this method. Each call takes an equal number of values from `random`, so that no draw
    /// shifts the later ones.
    pub(super) fn draw(&self, method: Method, random: &mut fastrand::Rng) -> Option<Fault> {
        self.draw_any(random).filter(|_| self.only.is_none_or(|only| only == method))
    }

    fn draw_any(&self, random: &mut fastrand::Rng) -> Option<Fault> {
        let outcome = random.f64();
        let status = OVERLOADED[random.usize(..OVERLOADED.len())];
        let delayed = random.f64() < self.delay;
        let first = random.bool();
        let wait = self.max_delay.mul_f64(random.f64());
        let stale = random.f64() < self.stale;

        let mut fault = match self.exclusive_at(outcome) {
            Some("error") => Some(Fault::answer(status)),
            Some("error_after_apply") => Some(Fault::answer(status).after_applying()),
            Some("bad_request") => Some(Fault::answer(400)),
            Some("drop_before") => Some(Fault::drop_connection()),
            Some("drop_after") => Some(Fault::drop_connection().after_applying()),
            Some("mute") => Some(Fault::mute()),
            Some(_) => Some(Fault::apply_late(wait)),
            None if stale => Some(Fault::stale()),
            None => None,
        };
        if delayed {
            let kept = fault.unwrap_or(Fault::NONE);
            fault = Some(if first { kept.delayed(wait) } else { kept.answering_late(wait) });
        }
        fault
    }

    /// The name of the fault whose part of 0..1 contains `outcome`.
    fn exclusive_at(&self, outcome: f64) -> Option<&'static str> {
        let mut edge = 0.0;
        for (name, rate) in self.exclusive() {
            edge += rate;
            if outcome < edge {
                return Some(name);
            }
        }
        None
    }
}
