//! Why an operation failed, for a person: each reason once, with its hosts.

use cluster_client::{Cause, Host, HostReport, Reason, Report, RequestErrorKind};

/// Maximum number of reasons that a text has.
const MOST_REASONS: usize = 3;

/// Returns the cause, and the hosts that failed beside the one of the cause, each with its reason.
pub(crate) fn cause(report: &Report) -> String {
    let Some(cause) = &report.cause else { return "no reason is known".into() };
    if !matches!(cause, Cause::Host { .. }) {
        return cause.to_string();
    }
    let failures = grouped(report, Reason::to_string);
    joined(&failures, |failure| failure.reason.sentence(names(&failure.hosts)))
}

/// Returns the cause after a text that names the hosts in doubt. It has the request of each reason, because a rollback
/// sends others than a create. Hosts that were just named are not named again.
pub(crate) fn cause_of_doubt(report: &Report, named: &[&Host]) -> String {
    if !matches!(report.cause, Some(Cause::Host { .. })) {
        return cause(report);
    }
    let failures = grouped(report, with_request);
    let is_named = |failure: &Failure<'_>| failure.hosts == named;
    if failures.iter().all(is_named) {
        return joined(&failures, |failure| with_request(failure.reason));
    }
    joined(&failures, |failure| {
        let hosts = if is_named(failure) && named.len() > 1 { "each".into() } else { names(&failure.hosts) };
        match request(failure.reason) {
            Some(request) => format!("{request} on {hosts}: {}", failure.reason),
            None => failure.reason.sentence(hosts),
        }
    })
}

/// A reason, and the hosts that share it, in the order of the report.
struct Failure<'a> {
    reason: &'a Reason,
    hosts: Vec<&'a Host>,
}

/// Returns the reasons that differ in their text, that of the cause first.
fn grouped(report: &Report, text: fn(&Reason) -> String) -> Vec<Failure<'_>> {
    let Some(Cause::Host { host: first, reason: why, .. }) = &report.cause else { return Vec::new() };
    let mut failures = vec![Failure { reason: why, hosts: Vec::new() }];
    for host in &report.hosts {
        // The host of the cause has no failure of its own if it was settled since.
        let Some(reason) = failure(host).or((host.host == *first).then_some(why)) else { continue };
        match failures.iter_mut().find(|known| text(known.reason) == text(reason)) {
            Some(known) => known.hosts.push(&host.host),
            None => failures.push(Failure { reason, hosts: vec![&host.host] }),
        }
    }
    if failures[0].hosts.is_empty() {
        failures[0].hosts.push(first);
    }
    failures
}

fn joined(failures: &[Failure<'_>], text: impl Fn(&Failure<'_>) -> String) -> String {
    let mut texts: Vec<String> = failures.iter().take(MOST_REASONS).map(text).collect();
    let more: usize = failures.iter().skip(MOST_REASONS).map(|failure| failure.hosts.len()).sum();
    if more > 0 {
        texts.push(format!("and {more} more failed"));
    }
    texts.join("; ")
}

/// Returns the reason of a host whose own requests failed.
fn failure(host: &HostReport) -> Option<&Reason> {
    let reason = host.reason.as_ref()?;
    let step = reason.step.as_ref()?;
    (!step.succeeded && reason.interruption.is_none()).then_some(reason)
}

/// Returns the request of a reason whose text does not name it, because no answer came.
fn request(reason: &Reason) -> Option<&'static str> {
    let step = reason.step.as_ref()?;
    (step.status.is_none() && step.error.is_some()).then(|| step.action.as_str())
}

fn with_request(reason: &Reason) -> String {
    request(reason).map_or_else(|| reason.to_string(), |request| format!("{request}: {reason}"))
}

/// Returns what a person has to check, if a host refuses each request until then.
pub(crate) fn to_check(report: &Report) -> Option<&'static str> {
    let of_cause = match &report.cause {
        Some(Cause::Host { reason, .. }) => Some(reason),
        _ => None,
    };
    let reasons = of_cause.into_iter().chain(report.hosts.iter().filter_map(failure));
    reasons.filter_map(|reason| reason.step.as_ref()).find_map(|step| match (step.status, &step.error) {
        (Some(401 | 403), _) => Some("credentials"),
        (None, Some(error)) if error.kind() == RequestErrorKind::Tls => Some("certificates"),
        _ => None,
    })
}

/// Returns the hosts in an unknown state to which no connection could be made.
pub(crate) fn unreached(report: &Report) -> Vec<&Host> {
    let is_unreached = |host: &&HostReport| {
        let error = host.reason.as_ref().and_then(|reason| reason.step.as_ref()?.error.as_ref());
        error.is_some_and(|error| matches!(error.kind(), RequestErrorKind::Resolve | RequestErrorKind::Connect))
    };
    report.unknown().filter(is_unreached).map(|host| &host.host).collect()
}

/// Lists the hosts. Of many, only the first are listed.
pub(crate) fn names(hosts: &[&Host]) -> String {
    const SHOWN: usize = 4;
    let all: Vec<&str> = hosts.iter().map(|host| host.label()).collect();
    match all.len() {
        0 => "no host".into(),
        1..=SHOWN => all.join(", "),
        more => format!("{} and {} more", all[..SHOWN].join(", "), more - SHOWN),
    }
}

#[cfg(test)]
mod tests {
    use cluster_client::{Action, GroupId, HostStep, Operation, Outcome, RequestError, State};

    use super::*;

    fn host(number: usize) -> Host {
        Host::parse(format!("http://n{number}:8000")).unwrap()
    }

    fn refused(action: Action, attempts: u32) -> Reason {
        let mut step = HostStep::failed(action, RequestError::new(RequestErrorKind::Connect, "connection refused"));
        step.attempts = attempts;
        Reason::new(Some(step), None)
    }

    fn answered(action: Action, status: u16) -> Reason {
        Reason::new(Some(HostStep::answered(action, status)), None)
    }

    /// Returns the text of a create whose cause is host 1, and after which these hosts are in doubt.
    fn doubt(cause: Reason, unknown: impl IntoIterator<Item = (usize, Reason)>) -> String {
        let mut report = Report::new(GroupId::parse("g").unwrap(), Operation::Create, Outcome::InDoubt);
        report.cause = Some(Cause::host(host(1), cause));
        for (number, reason) in unknown {
            let mut of_host = HostReport::new(host(number), State::Unknown);
            of_host.reason = Some(reason);
            report.hosts.push(of_host);
        }
        let named: Vec<&Host> = report.hosts.iter().map(|host| &host.host).collect();
        cause_of_doubt(&report, &named)
    }

    #[test]
    fn doubt_names_each_request_and_no_host_that_was_just_named() {
        assert_eq!(
            doubt(refused(Action::Create, 3), [(1, refused(Action::Delete, 3))]),
            "create: connection refused, 3 tries; delete: connection refused, 3 tries"
        );
        assert_eq!(
            doubt(refused(Action::Create, 1), [(1, answered(Action::Check, 503))]),
            "create: connection refused; answered 503 to check"
        );
    }

    #[test]
    fn doubt_names_the_hosts_of_each_request_if_they_differ() {
        let each = [1, 2, 3].map(|number| (number, refused(Action::Delete, 5)));
        assert_eq!(
            doubt(refused(Action::Create, 2), each),
            "create on n1:8000: connection refused, 2 tries; delete on each: connection refused, 5 tries"
        );
        assert_eq!(
            doubt(answered(Action::Create, 507), [(2, refused(Action::Delete, 5))]),
            "n1:8000 answered 507 to create; delete on n2:8000: connection refused, 5 tries"
        );
    }
}
