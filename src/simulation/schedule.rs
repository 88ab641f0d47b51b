//! A schedule is the list of answers to `choose(n)` in one run. Answer 0 means no fault; every other answer is one
//! fault. A run is a function of its schedule, so schedules can be enumerated, drawn, replayed and shortened.

use std::fmt::Write as _;

/// The faults of a schedule: the number of each question with an answer other than 0, and that answer.
pub(super) type Faults = Vec<(usize, usize)>;

#[derive(Debug)]
enum Source {
    /// Answers from the path, then 0. [`Choices::advance`] counts the path up like an odometer.
    Odometer,
    /// Every question is a fault with a probability of one in `rarity`.
    Dice {
        random: fastrand::Rng,
        rarity: usize,
    },
    Replay(Faults),
}

/// The answers of a run.
#[derive(Debug)]
pub(super) struct Choices {
    source: Source,
    /// The answers given, each with the number of possible answers. Unused by a replay.
    path: Vec<(usize, usize)>,
    /// Length of the path's prefix that the odometer does not change.
    floor: usize,
    asked: usize,
    budget: usize,
    faults: Faults,
    /// No fault happens any more.
    healed: bool,
}

impl Choices {
    fn new(source: Source, budget: usize) -> Self {
        Choices { source, path: Vec::new(), floor: 0, asked: 0, budget, faults: Vec::new(), healed: false }
    }

    /// Every schedule of up to `budget` faults.
    pub(super) fn exhaustive(budget: usize) -> Self {
        Choices::new(Source::Odometer, budget)
    }

    /// The schedules of [`Choices::exhaustive`] that begin with this path, which ends with their first fault.
    pub(super) fn subtree(budget: usize, path: &[(usize, usize)]) -> Self {
        Choices { path: path.to_vec(), floor: path.len(), ..Choices::exhaustive(budget) }
    }

    /// One random schedule of up to `budget` faults.
    pub(super) fn random(seed: u64, budget: usize, rarity: usize) -> Self {
        Choices::new(Source::Dice { random: fastrand::Rng::with_seed(seed), rarity }, budget)
    }

    pub(super) fn replay(faults: &[(usize, usize)]) -> Self {
        Choices::new(Source::Replay(faults.to_vec()), faults.len())
    }

    /// Returns one of `n` answers. 0 is no fault.
    #[inline]
    pub(super) fn choose(&mut self, n: usize) -> usize {
        if n <= 1 || self.healed {
            return 0;
        }
        let asked = self.asked;
        self.asked += 1;
        let answer = match &mut self.source {
            Source::Odometer => match self.path.get(asked) {
                Some((answer, _)) => *answer,
                None if self.faults.len() < self.budget => {
                    self.path.push((0, n));
                    0
                }
                None => 0,
            },
            Source::Dice { random, rarity } => {
                let fault = self.faults.len() < self.budget && random.usize(..*rarity) == 0;
                if fault { random.usize(1..n) } else { 0 }
            }
            Source::Replay(faults) => {
                faults.iter().find(|(at, _)| *at == asked).map_or(0, |(_, answer)| (*answer).min(n - 1))
            }
        };
        if answer > 0 {
            self.faults.push((asked, answer));
        }
        answer
    }

    pub(super) fn heal(&mut self) {
        self.healed = true;
    }

    pub(super) fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Goes to the next schedule. Returns false after the last one.
    pub(super) fn advance(&mut self) -> bool {
        while self.path.len() > self.floor {
            let last = self.path.len() - 1;
            let (answer, n) = self.path[last];
            if answer + 1 < n {
                self.path[last].0 += 1;
                self.rewind();
                return true;
            }
            self.path.pop();
        }
        false
    }

    fn rewind(&mut self) {
        self.asked = 0;
        self.faults.clear();
        self.healed = false;
    }

    /// Returns a path to each possible first fault. Call it after the run without a fault.
    pub(super) fn first_faults(&self) -> Vec<Vec<(usize, usize)>> {
        let each = |(at, (_, n)): (usize, &(usize, usize))| {
            let n = *n;
            let before = self.path[..at].to_vec();
            (1..n).map(move |answer| [before.clone(), vec![(answer, n)]].concat())
        };
        self.path.iter().enumerate().flat_map(each).collect()
    }
}

/// Leaves out each fault without which `fails` still returns true.
pub(super) fn shorten(faults: &[(usize, usize)], fails: impl Fn(&[(usize, usize)]) -> bool) -> Faults {
    let mut shortest = faults.to_vec();
    let mut at = 0;
    while at < shortest.len() {
        let mut without = shortest.clone();
        without.remove(at);
        if fails(&without) {
            shortest = without;
            at = 0;
        } else {
            at += 1;
        }
    }
    shortest
}

/// Writes `12=3,40=1` for answer 3 to question 12 and answer 1 to question 40.
pub(super) fn write(faults: &[(usize, usize)]) -> String {
    let mut text = String::new();
    for (at, answer) in faults {
        let comma = if text.is_empty() { "" } else { "," };
        write!(text, "{comma}{at}={answer}").expect("writing to a string cannot fail");
    }
    text
}

pub(super) fn parse(text: &str) -> Option<Faults> {
    let pairs = text.split(',').filter(|pair| !pair.is_empty());
    pairs.map(|pair| pair.split_once('=').and_then(|(at, how)| Some((at.parse().ok()?, how.parse().ok()?)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Schedules of three questions with 2, 3 and 2 answers.
    fn enumerate(budget: usize) -> Vec<[usize; 3]> {
        let mut choices = Choices::exhaustive(budget);
        let mut seen = Vec::new();
        loop {
            seen.push([choices.choose(2), choices.choose(3), choices.choose(2)]);
            if !choices.advance() {
                return seen;
            }
        }
    }

    #[test]
    fn odometer_enumerates_every_schedule_once() {
        for (budget, expected) in [(0, 1), (1, 1 + 1 + 2 + 1), (2, 5 + 2 + 1 + 2), (3, 12)] {
            let mut seen = enumerate(budget);
            assert_eq!(seen.len(), expected, "budget {budget}");
            assert!(seen.iter().all(|run| run.iter().filter(|answer| **answer > 0).count() <= budget));
            seen.sort_unstable();
            seen.dedup();
            assert_eq!(seen.len(), expected, "none twice");
        }
    }

    #[test]
    fn subtrees_partition_the_schedules() {
        let mut choices = Choices::exhaustive(2);
        let ask = |choices: &mut Choices| [choices.choose(2), choices.choose(3), choices.choose(2)];
        let mut seen = vec![ask(&mut choices)];
        for path in choices.first_faults() {
            let mut choices = Choices::subtree(2, &path);
            loop {
                seen.push(ask(&mut choices));
                if !choices.advance() {
                    break;
                }
            }
        }
        seen.sort_unstable();
        let mut whole = enumerate(2);
        whole.sort_unstable();
        assert_eq!(seen, whole);
    }

    #[test]
    fn written_schedule_is_parsed_back() {
        let faults = vec![(3, 1), (40, 12)];
        assert_eq!(parse(&write(&faults)), Some(faults));
        assert_eq!(parse(""), Some(vec![]));
        assert_eq!(parse("3"), None);
    }

    #[test]
    fn shorten_keeps_only_needed_faults() {
        let fails = |faults: &[(usize, usize)]| faults.contains(&(7, 2));
        assert_eq!(shorten(&[(1, 1), (7, 2), (9, 4)], fails), [(7, 2)]);
    }
}
