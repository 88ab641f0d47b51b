//! The job of a client process, from its command line: `KIND WARMUP_MS BUDGET_MS HOST,HOST,...`.

use std::time::Duration;

use crate::Failure;

/// Kind of measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One group after the other; the latency of each is recorded.
    Single,
    /// [`crate::IN_FLIGHT`] groups at a time; only the total counts.
    Bulk,
    /// One group, then exit without a report: the runner measures the whole process.
    Once,
}

impl Kind {
    /// The word on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Self::Single => "single",
            Self::Bulk => "bulk",
            Self::Once => "once",
        }
    }
}

/// One job for one client process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Kind of measurement.
    pub kind: Kind,
    /// Time of the warm-up.
    pub warmup: Duration,
    /// Time in which measured groups are started. Started ones are finished.
    pub budget: Duration,
    /// The hosts as `address:port`.
    pub hosts: Vec<String>,
}

impl Job {
    /// Reads the job from the arguments that follow the program's name.
    ///
    /// # Errors
    /// If the arguments are not those of the module's first line.
    pub fn from_args(args: impl IntoIterator<Item = String>) -> Result<Self, Failure> {
        let args: Vec<String> = args.into_iter().collect();
        let [kind, warmup, budget, hosts] = args.as_slice() else {
            return Err("usage: KIND WARMUP_MS BUDGET_MS HOST,HOST,...".into());
        };
        let kind = [Kind::Single, Kind::Bulk, Kind::Once]
            .into_iter()
            .find(|known| known.word() == kind)
            .ok_or_else(|| format!("unknown kind of job `{kind}`"))?;
        Ok(Self {
            kind,
            warmup: Duration::from_millis(warmup.parse()?),
            budget: Duration::from_millis(budget.parse()?),
            hosts: hosts.split(',').map(str::to_owned).collect(),
        })
    }

    /// The arguments that [`Job::from_args`] reads.
    pub fn to_args(&self) -> [String; 4] {
        [
            self.kind.word().to_owned(),
            self.warmup.as_millis().to_string(),
            self.budget.as_millis().to_string(),
            self.hosts.join(","),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_survives_the_command_line() {
        let job = Job {
            kind: Kind::Bulk,
            warmup: Duration::from_millis(5),
            budget: Duration::from_millis(70),
            hosts: vec!["127.0.0.1:1".into(), "127.0.0.1:2".into()],
        };
        assert_eq!(Job::from_args(job.to_args()).unwrap(), job);
    }

    #[test]
    fn an_unknown_kind_is_refused() {
        assert!(Job::from_args(["both", "1", "1", "h"].map(String::from)).is_err());
    }
}
