//! APIs described by a mapping, and the contradictions of the node API, on real sockets and with both engines.

#![cfg(feature = "testing")]

mod support;

use std::time::Duration;

use cluster_client::testing::{Cluster, Fault, Method, Node};
use cluster_client::{
    AnswerProblem, Api, ApiBuilder, Call, Cause, ClientBuilder, Engine, Error, OperationOptions, Outcome, State, Target,
};
use support::{builder, states};

#[cfg(feature = "mapping-files")]
#[test]
fn every_example_is_a_valid_mapping() {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/mappings");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let api =
            Api::from_toml(&text, cluster_client::Origin::File(path)).unwrap_or_else(|refused| panic!("{refused}"));
        assert!(api.proves_ownership(), "{}", api.name());
        names.push(api.name().to_owned());
    }
    names.sort();
    assert_eq!(names, ["elasticsearch-index", "grafana-folder"]);
}

fn engines() -> Vec<Engine> {
    vec![
        Engine::Threads,
        #[cfg(feature = "multiplex")]
        Engine::Multiplexed,
    ]
}

fn client_of(cluster: &Cluster, engine: Engine) -> ClientBuilder {
    builder(cluster.urls()).engine(engine)
}

/// An answer with this body, of this length by its head.
fn answer(status: u16, head: &str, body: &str, length: usize) -> Fault {
    Fault::raw(format!("HTTP/1.1 {status} x\r\n{head}Content-Length: {length}\r\n\r\n{body}")).on(Method::Get).always()
}

/// The node API as a mapping whose check reads JSON.
fn things() -> ApiBuilder {
    let body = r#"{"groupId": {id|json}}"#;
    Api::builder()
        .name("things")
        .noun("thing")
        .ids("a-z0-9", 16)
        .create(Call::new("POST", "/v1/group/").body(body).created([201]).exists([400, 409]))
        .check(Call::new("GET", "/v1/group/{id}/").present([200]).absent([404]))
        .delete(Call::new("DELETE", "/v1/group/").body(body).deleted([200, 204]).absent([400, 404]))
}

/// The call that checks, with answers that are told apart by their JSON.
fn json_check() -> Call {
    Call::new("GET", "/v1/group/{id}/")
        .present(["200 /name={id|json} !/state=gone"])
        .absent(["404", "200 /state=gone"])
        .wait(["200 /state=ending"])
}

#[test]
fn refusal_of_an_id_has_the_noun_of_the_api() {
    let cluster = Cluster::start(2).unwrap();
    let client = client_of(&cluster, Engine::default()).api(things().build().unwrap()).build().unwrap();
    for (id, problem) in
        [("a b", "has the character ' '"), ("..", "means another path"), (&"x".repeat(300), "300 bytes")]
    {
        let refusals = [
            client.create_group(id).unwrap_err(),
            client.delete_group(id).unwrap_err(),
            client.group_status(id).unwrap_err(),
            client.create_groups([id]).next().unwrap().result.unwrap_err(),
            client.delete_groups([id]).next().unwrap().result.unwrap_err(),
            client.probe(Some(id)).unwrap_err(),
        ];
        for refused in refusals {
            let Error::Config { source, .. } = refused else { panic!("{refused}") };
            assert_eq!(source.what(), "thing");
            assert!(source.to_string().starts_with("thing \"") && source.to_string().contains(problem), "{source}");
        }
    }
    let refused = client.forget("..", "http://node1").unwrap_err();
    assert!(refused.to_string().contains("thing \"..\""), "{refused}");
    assert!(cluster.nodes().iter().all(|node| node.log().is_empty()));
}

#[test]
fn page_and_other_group_contradict_a_200_of_the_node_api() {
    const HTML: &str = "Content-Type: text/html\r\n";
    const JSON: &str = "Content-Type: application/json\r\n";
    let page = Some(AnswerProblem::HtmlPage);
    for engine in engines() {
        let cluster = Cluster::start(2).unwrap();
        let client = client_of(&cluster, engine).build().unwrap();
        cluster.nodes().iter().for_each(|node| assert!(node.insert("g")));
        for (head, body, problem) in [
            ("", "", None),
            (HTML, "ok", None),
            (HTML, "g", None),
            (JSON, r#"{"groupId": "g"}"#, None),
            (JSON, r#"{"groupId": 1}"#, Some(AnswerProblem::OtherGroup)),
            (JSON, r#"{"groupId": null}"#, Some(AnswerProblem::OtherGroup)),
            (JSON, "<!DOCTYPE html><title>Log in</title>", page),
            ("", "\u{feff}  <!-- x --> <HTML>", page),
            (HTML, r#"{"a": 1, "groupId": "other"}"#, Some(AnswerProblem::OtherGroup)),
        ] {
            let node = cluster.node(1);
            node.inject(answer(200, head, body, body.len()));
            let report = client.group_status("g").unwrap();
            let state = if problem.is_some() { State::Unknown } else { State::Present };
            assert_eq!(states(&report), [State::Present, state], "{body}");
            let reason = report.hosts[1].reason.clone();
            let step = reason.as_ref().and_then(|reason| reason.step.clone());
            assert_eq!(step.as_ref().and_then(|step| step.problem), problem, "{body}");
            if let (Some(reason), Some(problem)) = (reason, problem) {
                assert_eq!(reason.to_string(), format!("answered 200 to check, {problem}"));
                assert_eq!(step.unwrap().attempts, 1, "a contradiction is not retried");
            }
            node.clear_faults();
        }
        // Cut after that, a page and another group still contradict. Any other cut body does not.
        for (body, state) in [
            ("<html>", State::Unknown),
            ("{\"groupId\": \"other\", \"mem", State::Unknown),
            ("{\"groupId\": \"oth", State::Present),
        ] {
            cluster.node(1).inject(answer(200, "", body, body.len() + 100));
            assert_eq!(states(&client.group_status("g").unwrap()), [State::Present, state], "{body}");
            cluster.node(1).clear_faults();
        }
    }
}

#[test]
fn page_in_the_probe_or_the_verification_never_makes_a_create_succeed() {
    for engine in engines() {
        let cluster = Cluster::start(2).unwrap();
        let client = client_of(&cluster, engine).build().unwrap();
        let page = "<html>login</html>";
        cluster.node(1).inject(answer(200, "", page, page.len()));
        let error = client.create_group("g").unwrap_err();
        assert!(matches!(error, Error::Unavailable { .. }), "{error}");
        assert!(error.to_string().contains("HTML page") && cluster.none_has("g"), "{error}");
        cluster.node(1).clear_faults();

        // The probe is honest, and a login page comes after it.
        cluster.node(1).inject(Fault::delay(std::time::Duration::ZERO).on(Method::Get));
        cluster.node(1).inject(answer(200, "", page, page.len()));
        let error = client.create_group("g").unwrap_err();
        assert!(matches!(error, Error::InDoubt { .. }), "{error}");
        assert!(cluster.none_has("g"), "the rollback deleted both");
    }
}

#[test]
fn mapping_with_bodies_creates_checks_repairs_and_deletes() {
    for engine in engines() {
        let cluster = Cluster::start(3).unwrap();
        let client = client_of(&cluster, engine).api(things().build().unwrap()).build().unwrap();
        assert_eq!(client.create_group("a").unwrap().outcome, Outcome::Created);
        assert!(matches!(client.create_group("a").unwrap_err(), Error::AlreadyExists { .. }));
        assert!(cluster.node(2).remove("a"));
        assert_eq!(client.repair_group("a", Target::Present).unwrap().outcome, Outcome::Repaired);
        assert!(cluster.all_have("a"));
        assert_eq!(client.delete_group("a").unwrap().report().outcome, Outcome::Deleted);
        assert!(cluster.none_has("a"));
    }
}

#[test]
fn tests_on_the_body_decide_the_state_and_an_unreadable_body_decides_nothing() {
    let long = format!("{{\"name\": \"g\", \"x\": \"{}\"}}", "x".repeat(1 << 20));
    for engine in engines() {
        let cluster = Cluster::start(1).unwrap();
        let client = client_of(&cluster, engine).api(things().check(json_check()).build().unwrap()).build().unwrap();
        for (status, body, missing, state, problem, attempts) in [
            (200, r#"{"name": "g"}"#, 0, State::Present, None, 1),
            (200, r#"{"name": "g", "state": "gone"}"#, 0, State::Absent, None, 1),
            (200, r#"{"name": "h"}"#, 0, State::Unknown, Some(AnswerProblem::Unlisted), 1),
            (200, r#"{"name": "g", "state": "ending"}"#, 0, State::Unknown, Some(AnswerProblem::TwoMeanings), 1),
            (200, "[]", 0, State::Unknown, Some(AnswerProblem::Unlisted), 1),
            (200, "g", 0, State::Unknown, Some(AnswerProblem::NotJson), 1),
            (200, "", 0, State::Unknown, Some(AnswerProblem::NotJson), 1),
            (200, r#"{"name": "g"}"#, 5, State::Unknown, Some(AnswerProblem::BodyCut), 3),
            (200, &long, 0, State::Unknown, Some(AnswerProblem::BodyCut), 3),
            (204, "", 0, State::Unknown, Some(AnswerProblem::Unlisted), 1),
            // No test is listed for this status, so its body does not count.
            (404, "x", 5, State::Absent, None, 1),
        ] {
            cluster.node(0).inject(answer(status, "", body, body.len() + missing));
            let report = client.group_status("g").unwrap();
            let shown = &body[..body.len().min(40)];
            let step = report.hosts[0].steps[0].clone();
            assert_eq!((report.hosts[0].state, step.problem), (state, problem), "{engine:?} {status} {shown}");
            assert_eq!(step.attempts, attempts, "{engine:?} {status} {shown}");
            cluster.node(0).clear_faults();
        }
    }
}

#[test]
fn delete_awaits_a_thing_that_is_still_changing_until_its_time_is_over() {
    for engine in engines() {
        let cluster = Cluster::start(2).unwrap();
        let check = Call::new("GET", "/v1/group/{id}/").present([200]).absent([404]).wait([202]);
        let api = things().check(check).build().unwrap();
        let client = client_of(&cluster, engine).api(api).build().unwrap();
        assert_eq!(client.create_group("g").unwrap().outcome, Outcome::Created);
        // More often than a request is tried.
        cluster.node(0).inject(Fault::answer(202).on(Method::Get).times(12));
        let deletion = client.delete_group("g").unwrap();
        assert_eq!(deletion.report().outcome, Outcome::Deleted, "{engine:?}");
        assert_eq!(cluster.node(0).pending_faults(), 0);

        assert_eq!(client.create_group("g").unwrap().outcome, Outcome::Created);
        cluster.node(0).inject(Fault::answer(202).on(Method::Get).always());
        let short = client.with(OperationOptions::new().timeout(std::time::Duration::from_millis(200)));
        let deletion = short.delete_group("g").unwrap();
        let report = deletion.report();
        assert_eq!((report.outcome, states(report)), (Outcome::InDoubt, vec![State::Unknown, State::Absent]));
        let reason = report.hosts[0].reason.as_ref().unwrap().to_string();
        assert!(reason.contains("answered 202 to check, still changing"), "{reason}");
    }
}

/// A create that was answered with 202 lands after its rollback, whose delete says yes to everything.
#[test]
fn create_that_is_promised_for_later_is_looked_for_again_before_a_rollback_is_believed() {
    for engine in engines() {
        let late = Duration::from_millis(150);
        let cluster = Cluster::start_with(2, |_| Node::builder().absent_status(204)).unwrap();
        cluster.node(0).inject(Fault::answer(202).applying_late(late).on(Method::Post));
        cluster.node(1).inject(Fault::answer(403).on(Method::Post));
        let create =
            Call::new("POST", "/v1/group/").body(r#"{"groupId": {id|json}}"#).created([201, 202]).exists([409]);
        let api = things().create(create).build().unwrap();
        let client = client_of(&cluster, engine).api(api).settle(2 * late).build().unwrap();
        let error = client.create_group("g").unwrap_err();
        let report = error.report().unwrap();
        assert_eq!((report.outcome, states(report)), (Outcome::RolledBack, vec![State::Absent; 2]), "{engine:?}");
        let appears = cluster.node(0).wait_until(|node| node.has("g"), 2 * late);
        assert!(!appears && cluster.none_has("g"), "{engine:?}: {report:#?}");
    }
}

#[test]
fn ids_outside_the_rule_are_refused_alone_in_a_bulk() {
    let cluster = Cluster::start(2).unwrap();
    let client = builder(cluster.urls()).api(things().build().unwrap()).build().unwrap();
    let mut refused = Vec::new();
    for done in client.create_groups(["a", "b*", "c", "toolongtoolongtoo", "d"]) {
        match done.result {
            Ok(report) => assert_eq!(report.outcome, Outcome::Created),
            Err(error) => {
                assert!(matches!(error, Error::Config { .. }), "{error}");
                refused.push(done.position);
            }
        }
    }
    refused.sort_unstable();
    assert_eq!(refused, [1, 3]);
    for (id, has) in [("a", true), ("b*", false), ("c", true), ("toolongtoolongtoo", false), ("d", true)] {
        assert!(if has { cluster.all_have(id) } else { cluster.none_has(id) }, "{id}");
    }
    cluster.nodes().iter().for_each(Node::clear_log);
    let errors = [
        client.create_group("*").unwrap_err(),
        client.group_status("_all").unwrap_err(),
        client.delete_group("A").unwrap_err(),
        client.repair_group("ä", Target::Absent).unwrap_err(),
    ];
    assert!(errors.iter().all(|error| matches!(error, Error::Config { .. })), "{errors:?}");
    assert!(cluster.nodes().iter().all(|node| node.log().is_empty()));
}

#[test]
fn preflight_cannot_be_left_out_if_a_create_proves_no_ownership() {
    let cluster = Cluster::start(2).unwrap();
    let blind = Call::new("POST", "/v1/group/").body(r#"{"groupId": {id|json}}"#).created([201]);
    let client = builder(cluster.urls()).api(things().create(blind).build().unwrap()).build().unwrap();
    let without = client.with(OperationOptions::new().preflight(false));
    let message = without.create_group("g").unwrap_err().to_string();
    assert!(message.contains("proves no ownership") && message.contains("keep the preflight"), "{message}");
    let done = without.create_groups(["g"]).next().unwrap();
    assert!(matches!(done.result, Err(Error::Config { .. })));
    assert!(cluster.nodes().iter().all(|node| node.log().is_empty()));
    assert!(without.group_status("g").is_ok() && client.create_group("g").is_ok());
}

#[test]
fn recovery_finds_the_api_of_the_intent_or_says_that_it_is_unknown_and_keeps_the_entry() {
    let cluster = Cluster::start(2).unwrap();
    let journal = tempfile::tempdir().unwrap();
    let api = || things().build().unwrap();
    let open = || builder(cluster.urls()).journal(journal.path());
    cluster.node(0).inject(Fault::answer(403).on(Method::Delete).always());
    cluster.node(1).inject(Fault::answer(403).on(Method::Post));
    let error = open().api(api()).build().unwrap().create_group("g").unwrap_err();
    assert!(matches!(error, Error::Incomplete { .. }) && error.is_recoverable(), "{error}");
    cluster.nodes().iter().for_each(|node| {
        node.clear_faults();
        node.clear_log();
    });

    // Another name, or another digest under the same name, is another API.
    let renamed = things().name("other").build().unwrap();
    let changed = things().check(json_check()).build().unwrap();
    for client in [open().build(), open().api(renamed).build(), open().known_apis([changed]).build()] {
        let client = client.unwrap();
        let recovery = client.recover().unwrap();
        let [error] = &recovery.unsettled[..] else { panic!("{recovery:?}") };
        let Some(Cause::UnknownApi { api: unknown, .. }) = &error.report().unwrap().cause else { panic!("{error}") };
        assert_eq!(*unknown, api().reference());
        assert_eq!((error.outcome(), error.is_recoverable()), (Outcome::Conflict, true), "{error}");
        assert!(error.to_string().contains("not known here (things "), "{error}");
        let error = client.create_group("g").unwrap_err();
        assert!(matches!(error, Error::Conflict { .. }) && error.is_recoverable(), "{error}");
    }
    assert!(cluster.nodes().iter().all(|node| node.log().is_empty()));
    assert_eq!(cluster.holders("g"), [0]);

    let recovery = open().known_apis([api()]).build().unwrap().recover().unwrap();
    assert!(recovery.is_complete() && recovery.settled.len() == 1, "{recovery:?}");
    assert!(cluster.none_has("g"));
}
