//! probe: certifies the API of the hosts. Prints the answers of each stage, and the verdict.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use cluster_client::{
    ConfigError, Error, Event, GroupId, Host, Hosts, Interruption, Observer, Operation, OperationOptions, Origin,
    Outcome, Printable, ProbeAnswer, ProbeReport, ProbeStage, StageReport,
};
use serde_json::{Value, json};

use crate::args::{Format, GlobalOptions};
use crate::confirm::confirmed_probe;
use crate::exit::{CliError, Exit, with_causes};
use crate::json;
use crate::next::{Advice, Next};
use crate::output::{Output, eprint};
use crate::printer::counted;
use crate::settings::Settings;
use crate::signal::{self, SignalContext};

/// Maximum number of hosts that a line names.
const MOST_NAMED: usize = 4;

/// The observer of the delete at the end, which the report has too.
struct Silent;

impl Observer for Silent {
    fn on_event(&self, _: &Event) {}
}

pub(crate) fn run(
    id: Option<&str>,
    asked: bool,
    global: &GlobalOptions,
    output: &mut Output,
) -> Result<Exit, CliError> {
    let settings = Settings::resolve(global)?;
    settings.require_named_hosts()?;
    let group = id.map(|id| checked(id, &settings)).transpose()?;
    let noun = settings.noun();
    let what = group.as_ref().map_or_else(|| format!("a {noun} with a random id"), |group| format!("{noun} {group}"));
    if !asked && !confirmed_probe(&what, &settings.hosts.value)? {
        eprint("not probed; nothing was sent");
        return Ok(Exit::Unchanged);
    }
    let client = settings.writer(Arc::new(Silent))?;
    let advice = Advice::new(global, &settings);
    let token = signal::watch(SignalContext {
        journal: settings.journal.clone(),
        look: group.as_ref().map(|group| advice.again(Operation::Status, group)).unwrap_or_default(),
        recover: advice.recover(),
        meaning: "deleting the thing again",
    })?;
    if !global.quiet {
        eprint(&format!("probing {} with {what}", counted(settings.hosts.value.len(), "host")));
    }
    let report = client.with(OperationOptions::new().cancel(&token)).probe(id)?;
    let (exit, next) = (exit(&report), next(&report, &advice));
    match output.format {
        Format::Json => output.print(&json::line(&object(&report, exit, &next))),
        Format::Name if report.is_certified() => output.print(&format!("{}\n", Printable::new(report.group.as_str()))),
        Format::Name => {}
        Format::Table => output.print(&(stages(&report) + &verdict(&report, &settings.hosts.value) + &next.lines())),
    }
    if let Some(error) = &report.journal_error {
        eprint(&format!("warning: the journal still holds the probe, which `recover` removes: {}", with_causes(error)));
    }
    Ok(exit)
}

fn checked(id: &str, settings: &Settings) -> Result<GroupId, ConfigError> {
    let named = |error: ConfigError| error.from_origin(Origin::Option("the command line".into()));
    let group = GroupId::parse(id).map_err(named)?;
    settings.api.api.value.check_id(&group).map_err(named)?;
    Ok(group)
}

fn exit(report: &ProbeReport) -> Exit {
    match report.interruption {
        _ if !report.left.is_empty() => Exit::InDoubt,
        _ if report.is_certified() => Exit::Done,
        Some(Interruption::Cancelled) => Exit::Interrupted,
        _ => Exit::Unchanged,
    }
}

fn next(report: &ProbeReport, advice: &Advice) -> Next {
    match report.left.is_empty() {
        true => Next::default(),
        false if report.recoverable => advice.recover(),
        false => advice.again(Operation::Delete, &report.group),
    }
}

// --- for people

fn stages(report: &ProbeReport) -> String {
    let mut text = String::new();
    for StageReport { stage, hosts, .. } in &report.stages {
        let mut request = None;
        for (answer, alike) in grouped(hosts, is_alike) {
            if request.replace(&answer.request) != Some(&answer.request) {
                let body = answer.request_body.as_ref().map(|body| format!("  {body}")).unwrap_or_default();
                let _ = writeln!(text, "{stage:14}  {}{body}", answer.request);
            }
            let mark = if answer.problem.is_some() { "  PROBLEM" } else { "" };
            let _ = writeln!(text, "  {}: {}{mark}", names(&alike), answered(answer));
        }
    }
    text
}

/// Returns `404 {"error":"no such group"}: absent`, or the reason for the missing answer.
fn answered(answer: &ProbeAnswer) -> String {
    let tries = if answer.tries > 1 { format!(", {} tries", answer.tries) } else { String::new() };
    let body = answer.body.as_ref().map(|body| format!(" {body}")).unwrap_or_default();
    match (answer.status, &answer.error) {
        (Some(status), _) => format!("{status}{body}: {}{tries}", answer.word().replace('_', " ")),
        (None, Some(error)) => format!("no answer: {}{tries}", with_causes(error)),
        (None, None) => "not asked".into(),
    }
}

fn is_alike(one: &ProbeAnswer, other: &ProbeAnswer) -> bool {
    let shown = |answer: &ProbeAnswer| (answer.request.clone(), answered(answer), answer.problem.clone());
    shown(one) == shown(other)
}

/// Groups equal items, each with the hosts that have it.
fn grouped(
    answers: &[ProbeAnswer],
    is_equal: impl Fn(&ProbeAnswer, &ProbeAnswer) -> bool,
) -> Vec<(&ProbeAnswer, Vec<&Host>)> {
    let mut groups: Vec<(&ProbeAnswer, Vec<&Host>)> = Vec::new();
    for answer in answers {
        match groups.iter_mut().find(|(first, _)| is_equal(first, answer)) {
            Some((_, hosts)) => hosts.push(&answer.host),
            None => groups.push((answer, vec![&answer.host])),
        }
    }
    groups
}

fn names(hosts: &[&Host]) -> String {
    let shown = if hosts.len() > MOST_NAMED { MOST_NAMED - 1 } else { hosts.len() };
    let mut text = hosts[..shown].iter().map(|host| host.label()).collect::<Vec<_>>().join(", ");
    if shown < hosts.len() {
        let _ = write!(text, " and {} more", hosts.len() - shown);
    }
    text
}

fn verdict(report: &ProbeReport, hosts: &Hosts) -> String {
    let mut text = String::new();
    let (api, number) = (&report.api, hosts.len());
    if report.is_certified() {
        let number = format!("{number} {}", if number == 1 { "host" } else { "hosts" });
        let _ = writeln!(text, "certified: {} (digest {}) on {number}", api.name(), api.digest());
        if let Some(limits) = report.limits() {
            let _ = writeln!(text, "note: {limits}");
        }
        return text;
    }
    let why = report.interruption.map(|why| format!(", because {why}")).unwrap_or_default();
    let nothing = if report.has_created() { "" } else { "; nothing was created" };
    let _ = writeln!(text, "not certified: {}{why}{nothing}", api.name());
    for (stage, problem, hosts) in problems(report) {
        let _ = writeln!(text, "  {stage}, {}: {}", names(&hosts), problem);
    }
    if !report.left.is_empty() {
        let left: Vec<&Host> = report.left.iter().collect();
        let _ = writeln!(text, "{} may be left on {}", Printable::new(report.group.as_str()), names(&left));
        if let Some(Err(error)) = &report.cleanup {
            let _ = writeln!(text, "the delete at the end failed: {}", with_causes(error));
        }
    }
    text
}

/// Returns each problem of a stage once, with its hosts.
fn problems(report: &ProbeReport) -> Vec<(ProbeStage, &str, Vec<&Host>)> {
    let stages = report.stages.iter().flat_map(|stage| {
        let groups = grouped(&stage.hosts, |one, other| one.problem == other.problem);
        groups.into_iter().filter_map(move |(answer, hosts)| Some((stage.stage, answer.problem.as_deref()?, hosts)))
    });
    stages.collect()
}

// --- for programs

fn object(report: &ProbeReport, exit: Exit, next: &Next) -> Value {
    let verdict = match exit {
        Exit::Done => "certified",
        Exit::InDoubt => "left",
        _ => "not_certified",
    };
    let problems = problems(report).into_iter().map(|(stage, problem, hosts)| {
        let hosts: Vec<&str> = hosts.into_iter().map(Host::as_str).collect();
        json!({ "stage": stage.as_str(), "hosts": hosts, "problem": problem })
    });
    let cleanup =
        report.cleanup.as_ref().map(|cleanup| cleanup.as_ref().map_or_else(Error::outcome, |done| done.outcome));
    json!({
        "schema": 1,
        "kind": "probe",
        "group": report.group.as_str(),
        "api": { "name": report.api.name(), "digest": report.api.digest() },
        "stages": report.stages.iter().map(stage_object).collect::<Vec<_>>(),
        "verdict": verdict,
        "problems": problems.collect::<Vec<_>>(),
        "note": report.limits(),
        "interrupted": report.interruption.map(|why| why.to_string()),
        "left": report.left.iter().map(Host::as_str).collect::<Vec<_>>(),
        "cleanup": cleanup.map(Outcome::as_str),
        "recoverable": report.recoverable,
        "exit": exit.code(),
        "elapsed_ms": milliseconds(report.elapsed),
        "next": next.json(),
    })
}

fn stage_object(stage: &StageReport) -> Value {
    let host = |answer: &ProbeAnswer| {
        json!({
            "host": answer.host.as_str(),
            "request": answer.request,
            "request_body": answer.request_body,
            "status": answer.status,
            "body": answer.body,
            "meaning": answer.word(),
            "tries": answer.tries,
            "elapsed_ms": milliseconds(answer.elapsed),
            "error": answer.error.as_ref().map(|error| with_causes(error)),
            "problem": answer.problem,
        })
    };
    json!({ "stage": stage.stage.as_str(), "hosts": stage.hosts.iter().map(host).collect::<Vec<_>>() })
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
