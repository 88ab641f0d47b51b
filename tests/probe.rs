//! `probe`, on embedded nodes and with both engines: what it certifies, which line it names, and what it leaves.

#![cfg(feature = "testing")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use cluster_client::testing::{Cluster, Fault, Method, Node};
use cluster_client::{
    Api, ApiBuilder, Call, CancelToken, ClientBuilder, ClusterClient, Credentials, DirectoryJournal, Engine, Error,
    Interruption, Journal, Meaning, OperationOptions, ProbeReport, ProbeStage, RetryPolicy,
};
use support::{PATIENCE, builder};

fn engines() -> Vec<Engine> {
    vec![
        Engine::Threads,
        #[cfg(feature = "multiplex")]
        Engine::Multiplexed,
    ]
}

/// A cluster, and a client of it with a journal.
struct Bench {
    cluster: Cluster,
    journal: DirectoryJournal,
    directory: tempfile::TempDir,
    engine: Engine,
}

impl Bench {
    fn new(engine: Engine) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let journal = DirectoryJournal::open(directory.path().join("journal")).unwrap();
        let cluster = Cluster::start_with(3, |_| Node::builder().existing_status(409)).unwrap();
        Bench { cluster, journal, directory, engine }
    }

    fn builder(&self) -> ClientBuilder {
        builder(self.cluster.urls()).engine(self.engine).custom_journal(Arc::new(self.journal.clone()))
    }

    fn client(&self, api: Api) -> ClusterClient {
        self.builder().api(api).build().unwrap()
    }

    fn probe(&self, api: Api) -> ProbeReport {
        self.client(api).probe(Some("x")).unwrap()
    }

    fn is_unfinished(&self) -> bool {
        !self.journal.unfinished().unwrap().entries.is_empty()
    }

    /// Asserts that no host has anything, and that nothing is unfinished.
    #[track_caller]
    fn assert_clean(&self, report: &ProbeReport) {
        for node in self.cluster.nodes() {
            assert_eq!(node.groups(), [""; 0], "{} has something: {report:#?}", node.url());
        }
        assert!(!self.is_unfinished(), "{report:#?}");
        assert!(report.left.is_empty() && !report.recoverable, "{report:#?}");
    }

    fn count(&self, method: Method) -> u64 {
        self.cluster.nodes().iter().map(|node| node.count(method)).sum()
    }
}

const BODY: &str = r#"{"groupId": {id|json}}"#;

fn create() -> Call {
    Call::new("POST", "/v1/group/").body(BODY)
}

fn check() -> Call {
    Call::new("GET", "/v1/group/{id}/")
}

fn delete() -> Call {
    Call::new("DELETE", "/v1/group/").body(BODY)
}

/// The node API as a mapping.
fn things() -> ApiBuilder {
    Api::builder()
        .name("things")
        .ids("a-z0-9-", 32)
        .create(create().created([201]).exists([400, 409]))
        .check(check().present([200]).absent([404]))
        .delete(delete().deleted([200, 204]).absent([400, 404]))
}

fn words(report: &ProbeReport) -> Vec<(ProbeStage, Vec<&'static str>)> {
    let words =
        |stage: &cluster_client::StageReport| stage.hosts.iter().map(cluster_client::ProbeAnswer::word).collect();
    report.stages.iter().map(|stage| (stage.stage, words(stage))).collect()
}

/// Returns the problems, each once.
fn problems(report: &ProbeReport) -> Vec<(ProbeStage, String)> {
    let mut problems: Vec<(ProbeStage, String)> =
        report.problems().map(|(stage, answer)| (stage, answer.problem.clone().unwrap())).collect();
    problems.dedup();
    problems
}

#[test]
fn default_api_and_its_mapping_are_certified() {
    for engine in engines() {
        for api in [Api::default(), things().build().unwrap()] {
            let bench = Bench::new(engine);
            let report = bench.client(api).probe(None).unwrap();
            assert!(report.is_certified(), "{report:#?}");
            let expected = ["absent", "created", "present", "exists", "present", "deleted", "absent", "absent"]
                .map(|word| vec![word; 3]);
            assert_eq!(words(&report), ProbeStage::ALL.into_iter().zip(expected).collect::<Vec<_>>());
            assert!(
                report.group.as_str().starts_with("probe-") && report.group.as_str().len() == 18,
                "{}",
                report.group
            );
            assert!(report.cleanup.is_none() && report.limits().is_none());
            bench.assert_clean(&report);
            // One request to each host in each stage, and no other.
            assert_eq!((bench.count(Method::Get), bench.count(Method::Post), bench.count(Method::Delete)), (12, 6, 6));
            let answer = &report.stages[1].hosts[2];
            assert_eq!(answer.request, "POST /v1/group/ HTTP/1.1");
            assert_eq!(answer.request_body.as_deref(), Some(&*format!(r#"{{"groupId": "{}"}}"#, report.group)));
            assert_eq!((answer.status, answer.meaning, answer.tries), (Some(201), Some(Ok(Meaning::Created)), 1));
            let check = &report.stages[0].hosts[0];
            assert_eq!(check.request, format!("GET /v1/group/{}/ HTTP/1.1", report.group));
            assert_eq!(
                report.stages[2].hosts[0].body.as_deref(),
                Some(&*format!(r#"{{"groupId":"{}"}}"#, report.group))
            );
        }
    }
}

#[test]
fn taken_id_creates_nothing() {
    for engine in engines() {
        let bench = Bench::new(engine);
        bench.cluster.node(1).insert("x");
        let report = bench.probe(things().build().unwrap());
        assert!(!report.is_certified() && !report.has_created());
        assert_eq!(words(&report), [(ProbeStage::AbsentBefore, vec!["absent", "present", "absent"])]);
        let problem = problems(&report).remove(0).1;
        assert!(
            problem.starts_with("check.present lists 200, but nothing was created yet: take another id"),
            "{problem}"
        );
        assert_eq!(bench.cluster.holders("x"), [1]);
        assert_eq!(bench.count(Method::Post) + bench.count(Method::Delete), 0);
        assert!(!bench.is_unfinished() && report.left.is_empty());
    }
}

#[test]
fn id_outside_the_rule_a_busy_id_and_an_unfinished_one_are_refused() {
    for engine in engines() {
        let bench = Bench::new(engine);
        let client = bench.client(things().build().unwrap());
        for id in ["A", "*", "", "..", &"a".repeat(33)] {
            assert!(matches!(client.probe(Some(id)), Err(Error::Config { .. })), "{id}");
        }
        let group = cluster_client::GroupId::parse("x").unwrap();
        let mut claim = bench.journal.claim(&group).unwrap();
        assert!(matches!(client.probe(Some("x")), Err(Error::Busy { .. })));
        let intent = cluster_client::Intent::new(group, cluster_client::Purpose::Delete, client.hosts());
        claim.record(&intent).unwrap();
        drop(claim);
        let refused = client.probe(Some("x")).unwrap_err().to_string();
        assert!(refused.contains("has an unfinished operation in the journal: probe with another id"), "{refused}");
        assert_eq!(bench.journal.unfinished().unwrap().entries[0].intent(), &intent);
        std::fs::rename(bench.directory.path().join("journal"), bench.directory.path().join("away")).unwrap();
        assert!(matches!(client.probe(Some("y")), Err(Error::Journal { .. })));
        bench.cluster.nodes().iter().for_each(|node| assert_eq!(node.log(), []));
    }
}

/// Each mapping has one wrong line, and the problem names it. The state of every host is the same as before.
#[test]
fn each_wrong_line_is_named() {
    use ProbeStage::{AbsentBefore, Create, CreateAgain, Delete, DeleteAgain, Present, PresentStill};
    let wrong: Vec<(ApiBuilder, Vec<(ProbeStage, &str)>)> = vec![
        (
            things().check(check().present([404]).absent([200])),
            vec![(AbsentBefore, "check.present lists 404, but nothing was created yet")],
        ),
        (
            things().check(check().present([200]).absent([410])),
            vec![(AbsentBefore, "check answered 404, which no line of check lists: add it to check.absent if")],
        ),
        (
            things().create(create().created([200]).exists([409])),
            vec![(Create, "create answered 201, which no line of create lists: add it to create.created if")],
        ),
        (
            things().create(create().created([200]).exists([201, 409])),
            vec![(Create, "create.exists lists 201, but the thing was absent before: move it to create.created")],
        ),
        (
            things().create(Call::new("POST", "/v2/group/").body(BODY).created([201]).exists([409])),
            vec![(
                Create,
                "create answered 404, which no line of create lists: add it to create.created if it means that \
                           the thing was made. Or are method, path, headers and body not right?",
            )],
        ),
        (
            things().create(create().created([201]).exists([412])),
            vec![(CreateAgain, "create answered 409, which no line of create lists: add it to create.exists if")],
        ),
        (
            things().create(create().created([201, 409]).exists([412])),
            vec![(
                CreateAgain,
                "create.created lists 409, but the thing was there: the create overwrites, or does not tell",
            )],
        ),
        (
            things().check(check().present([299]).absent([404])),
            vec![
                (Present, "check answered 200, which no line of check lists: add it to check.present if"),
                (PresentStill, "check answered 200, which no line of check lists: add it to check.present if"),
            ],
        ),
        (
            things().check(check().present(["200 /state=on"]).absent([404])),
            vec![
                (Present, "check answered 200, which no line of check lists"),
                (PresentStill, "check answered 200, which no line of check lists"),
            ],
        ),
        (
            things().delete(delete().deleted([202]).absent([404])),
            vec![(Delete, "delete answered 200, which no line of delete lists: add it to delete.deleted if")],
        ),
        (
            things().delete(delete().deleted([204]).absent([200, 404])),
            vec![(
                Delete,
                "delete.absent lists 200, but the thing was there: does delete.path address the same thing?",
            )],
        ),
        (
            things().delete(delete().deleted([200]).absent([410])),
            vec![(DeleteAgain, "delete answered 404, which no line of delete lists: add it to delete.absent if")],
        ),
    ];
    for engine in engines() {
        for (number, (api, expected)) in wrong.iter().enumerate() {
            let bench = Bench::new(engine);
            let report = bench.probe(api.clone().build().unwrap());
            let found = problems(&report);
            assert_eq!(found.len(), expected.len(), "{number}: {found:#?}");
            for ((stage, text), (expected_stage, expected)) in found.iter().zip(expected) {
                assert!(stage == expected_stage && text.starts_with(expected), "{number}: {stage}: {text}");
            }
            assert!(!report.is_certified());
            bench.assert_clean(&report);
        }
    }
}

/// The check asks for a place where nothing ever is, so that an absence proves nothing.
#[test]
fn check_of_another_place_leaves_the_hosts_in_doubt() {
    for engine in engines() {
        let bench = Bench::new(engine);
        let api = things().check(Call::new("GET", "/v2/group/{id}/").present([200]).absent([404])).build().unwrap();
        let report = bench.probe(api);
        let found = problems(&report);
        assert_eq!(found.len(), 1, "{found:#?}");
        assert!(
            found[0].1.starts_with("the check does not find it after the create: does check.path address"),
            "{found:#?}"
        );
        assert_eq!(report.stages.len(), 3);
        assert_eq!(report.stages[2].hosts[0].tries, 3, "a host that lags would show it later");
        // The delete has removed it, which this check cannot show.
        assert!(bench.cluster.none_has("x"));
        assert_eq!(report.left.len(), 3);
    }
}

#[test]
fn delete_of_another_place_leaves_the_thing_and_says_where() {
    for engine in engines() {
        let bench = Bench::new(engine);
        for node in bench.cluster.nodes() {
            node.inject(Fault::answer(204).on(Method::Delete).always());
        }
        let client = bench.client(things().build().unwrap());
        let report = client.probe(Some("x")).unwrap();
        let found = problems(&report);
        assert!(
            found[0].0 == ProbeStage::AbsentAfter
                && found[0]
                    .1
                    .starts_with("the check still finds it after the delete: does delete.path address the same thing?"),
            "{found:#?}"
        );
        assert!(bench.cluster.all_have("x") && report.left.len() == 3 && report.recoverable);
        bench.cluster.nodes().iter().for_each(Node::clear_faults);
        assert!(client.recover().unwrap().is_complete());
        assert!(bench.cluster.none_has("x") && !bench.is_unfinished());
    }
}

#[test]
fn create_that_overwrites_is_certified_with_a_limit() {
    for engine in engines() {
        let bench = Bench::new(engine);
        let api = things().create(create().created([201, 409])).build().unwrap();
        let report = bench.probe(api);
        assert!(report.is_certified(), "{report:#?}");
        assert!(report.limits().is_some_and(|limits| limits.contains("overwrites")));
        bench.assert_clean(&report);
    }
}

#[test]
fn lag_transient_answers_and_lost_ones_are_repeated() {
    for engine in engines() {
        let bench = Bench::new(engine);
        let node = bench.cluster.node(1);
        // The checks after the create and after the delete show the old state twice.
        node.inject(Fault::delay(Duration::ZERO).on(Method::Get));
        node.inject(Fault::answer(404).on(Method::Get).times(2));
        node.inject(Fault::delay(Duration::ZERO).on(Method::Get).times(2));
        node.inject(Fault::answer(200).on(Method::Get).times(2));
        bench.cluster.node(2).inject(Fault::answer(503).on(Method::Post).times(2));
        bench.cluster.node(0).inject(Fault::drop_connection().after_applying().on(Method::Delete));
        let report = bench.probe(Api::default());
        assert!(report.is_certified(), "{:#?}", problems(&report));
        let tries = |stage: usize| report.stages[stage].hosts.iter().map(|answer| answer.tries).collect::<Vec<_>>();
        assert_eq!(
            [tries(1), tries(2), tries(5), tries(6)],
            [[1, 1, 3], [1, 3, 1], [2, 1, 1], [1, 3, 1]].map(Vec::from)
        );
        bench.assert_clean(&report);
    }
}

/// A create whose answer is lost may have made the thing, so its repetition proves nothing.
#[test]
fn lost_create_is_not_certified_and_cleaned_up() {
    for engine in engines() {
        let bench = Bench::new(engine);
        bench.cluster.node(1).inject(Fault::drop_connection().after_applying().on(Method::Post));
        let report = bench.probe(Api::default());
        let found = problems(&report);
        assert!(found.len() == 1 && found[0].1.contains("after a try without a clear answer"), "{found:#?}");
        assert!(report.cleanup.is_some());
        bench.assert_clean(&report);
    }
}

#[test]
fn wait_is_repeated_until_it_ends() {
    for engine in engines() {
        let bench = Bench::new(engine);
        let api = things().check(check().present([200]).absent([404]).wait([202])).build().unwrap();
        let node = bench.cluster.node(0);
        node.inject(Fault::delay(Duration::ZERO).on(Method::Get).times(3));
        node.inject(Fault::answer(202).on(Method::Get).times(8));
        let report = bench.probe(api.clone());
        assert!(report.is_certified(), "{:#?}", problems(&report));
        assert_eq!(report.stages[6].hosts[0].tries, 9);
        bench.assert_clean(&report);

        node.inject(Fault::answer(202).on(Method::Get).always());
        let client =
            bench.builder().api(api).settle(Duration::from_millis(10)).rollback_timeout(Duration::from_millis(80));
        let report = client.build().unwrap().probe(Some("y")).unwrap();
        let found = problems(&report);
        assert!(found[0].1.contains("check.wait lists it: does it ever end?"), "{found:#?}");
        assert!(!report.has_created());
        bench.assert_clean(&report);
    }
}

#[test]
fn host_that_is_down_creates_nothing() {
    for engine in engines() {
        let bench = Bench::new(engine);
        bench.cluster.node(2).stop();
        let report = bench.probe(Api::default());
        assert_eq!(words(&report), [(ProbeStage::AbsentBefore, vec!["absent", "absent", "no_answer"])]);
        assert!(problems(&report)[0].1.starts_with("check got no answer: "), "{:?}", problems(&report));
        assert!(!report.has_created() && bench.count(Method::Post) == 0);
        bench.assert_clean(&report);
    }
}

#[test]
fn host_that_dies_after_the_create_is_named_and_recovered_later() {
    for engine in engines() {
        let bench = Bench::new(engine);
        let node = bench.cluster.node(2);
        node.inject(Fault::delay(Duration::ZERO).on(Method::Get));
        node.inject(Fault::drop_connection().on(Method::Get).always());
        node.inject(Fault::drop_connection().on(Method::Delete).always());
        let client = bench.client(Api::default());
        let report = client.probe(Some("x")).unwrap();
        assert_eq!(report.left, [client.hosts().as_slice()[2].clone()]);
        assert!(report.recoverable && bench.is_unfinished());
        assert_eq!(bench.cluster.holders("x"), [2]);
        node.clear_faults();
        assert!(client.recover().unwrap().is_complete());
        assert!(bench.cluster.none_has("x") && !bench.is_unfinished());
    }
}

#[test]
fn cancel_in_each_stage_leaves_nothing() {
    for engine in engines() {
        for (number, stage) in ProbeStage::ALL.into_iter().enumerate() {
            let bench = Bench::new(engine);
            let method = match stage.action() {
                cluster_client::Action::Create => Method::Post,
                cluster_client::Action::Delete => Method::Delete,
                _ => Method::Get,
            };
            let earlier =
                ProbeStage::ALL[..number].iter().filter(|other| other.action() == stage.action()).count() as u64;
            // The host answers late, so that the cancel arrives within the stage.
            let node = bench.cluster.node(1);
            if earlier > 0 {
                node.inject(Fault::delay(Duration::ZERO).on(method).times(earlier));
            }
            node.inject(Fault::delay_answer(Duration::from_millis(150)).on(method));
            let token = CancelToken::new();
            let client = bench.client(Api::default()).with(OperationOptions::new().cancel(&token));
            let report = std::thread::scope(|scope| {
                scope.spawn(|| {
                    let all_have_it = || {
                        bench
                            .cluster
                            .nodes()
                            .iter()
                            .all(|node| node.wait_until(|node| node.count(method) > earlier, PATIENCE))
                    };
                    assert!(all_have_it());
                    // A kill at this moment would leave the probe in the journal, as soon as there is a create.
                    assert_eq!(bench.is_unfinished(), number > 0, "{stage}");
                    token.cancel();
                });
                client.probe(Some("x")).unwrap()
            });
            bench.assert_clean(&report);
            assert_eq!(
                report.stages.len(),
                number + 1,
                "{stage}: the requests under way complete, and no stage follows"
            );
            let is_last = stage == ProbeStage::DeleteAgain;
            assert_eq!(report.interruption, (!is_last).then_some(Interruption::Cancelled), "{stage}");
            assert_eq!(report.is_certified(), is_last);
        }
    }
}

#[test]
fn cancel_ends_the_delay_before_a_try() {
    for engine in engines() {
        let bench = Bench::new(engine);
        let node = bench.cluster.node(1);
        node.inject(Fault::answer(503).on(Method::Get).always());
        let token = CancelToken::new();
        let delayed = RetryPolicy::new().with_first_delay(PATIENCE).with_max_delay(PATIENCE);
        let client = bench.builder().retry(delayed).build().unwrap().with(OperationOptions::new().cancel(&token));
        let report = std::thread::scope(|scope| {
            scope.spawn(|| {
                assert!(node.wait_until(|node| node.log().any(|entry| entry.status == Some(503)), PATIENCE));
                // Nothing shows when the delay begins. An earlier cancel passes too, so this time is no condition.
                node.wait_until(|_| false, Duration::from_millis(50));
                token.cancel();
            });
            client.probe(Some("x")).unwrap()
        });
        assert!(report.elapsed < PATIENCE / 4, "{:?}", report.elapsed);
        assert_eq!(report.interruption, Some(Interruption::Cancelled));
        bench.assert_clean(&report);
    }
}

#[test]
fn timeout_of_the_operation_ends_the_stages() {
    for engine in engines() {
        let bench = Bench::new(engine);
        bench.cluster.node(0).inject(Fault::delay_answer(Duration::from_millis(120)).on(Method::Post));
        let options = OperationOptions::new().timeout(Duration::from_millis(60));
        let report = bench.client(Api::default()).with(options).probe(Some("x")).unwrap();
        assert_eq!(report.interruption, Some(Interruption::TimedOut));
        bench.assert_clean(&report);
        let report =
            bench.client(Api::default()).with(OperationOptions::new().timeout(Duration::ZERO)).probe(None).unwrap();
        assert!(!report.has_created() && report.stages[0].hosts[0].tries == 0, "{report:#?}");
        assert!(problems(&report)[0].1.contains("was not sent"));
    }
}

#[test]
fn hostile_bodies_show_no_control_character_and_no_secret() {
    for engine in engines() {
        let bench = Bench::new(engine);
        let body = format!(
            "{{\"x\": \"\u{1b}[2J\u{202e}\", \"access_token\": \"marker-a\", \"echo\": \"marker-b\", \"z\": \"{}\"",
            "z".repeat(5000)
        );
        let answer = format!("HTTP/1.1 500 x\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        bench.cluster.node(1).inject(Fault::raw(answer).on(Method::Get).always());
        let client = bench.builder().credentials(Credentials::bearer("marker-b")).build().unwrap();
        let report = client.probe(Some("x")).unwrap();
        let shown = report.stages[0].hosts[1].body.clone().unwrap();
        assert!(shown.starts_with(r#"{"x": "\u{1b}[2J\u{202e}", "access_token": "***", "echo": "***", "#), "{shown}");
        assert_eq!(shown.chars().count(), 203, "{shown}");
        assert!(!format!("{report:?}").contains("marker"), "{report:?}");
        assert_eq!(report.stages[0].hosts[1].tries, 3, "500 is listed for a retry");
        bench.assert_clean(&report);
    }
}

/// A 401 is answered with the new content of the token file, and counts as no try.
#[test]
fn credentials_are_renewed_after_a_401() {
    for engine in engines() {
        let bench = Bench::new(engine);
        let file = bench.directory.path().join("token");
        std::fs::write(&file, "marker-old").unwrap();
        let token = Credentials::bearer(cluster_client::Secret::file(&file));
        let client = bench.builder().credentials(token).build().unwrap();
        std::fs::write(&file, "marker-new").unwrap();
        bench.cluster.node(1).inject(Fault::answer(401).on(Method::Post));
        let report = client.probe(None).unwrap();
        assert!(report.is_certified(), "{report:#?}");
        assert_eq!((bench.cluster.node(1).count(Method::Post), report.stages[1].hosts[1].tries), (3, 1));
        assert!(!format!("{report:?}").contains("marker"));
        bench.assert_clean(&report);
    }
}

#[test]
fn request_line_has_the_base_path_of_the_host() {
    for engine in engines() {
        let cluster = Cluster::start_with(2, |_| Node::builder().path("/hub/v1/group/")).unwrap();
        let urls: Vec<String> = cluster.urls().iter().map(|url| format!("{url}/hub")).collect();
        let client = builder(urls).engine(engine).api(things().build().unwrap()).build().unwrap();
        let report = client.probe(Some("x")).unwrap();
        assert!(report.is_certified(), "{report:#?}");
        assert_eq!(report.stages[0].hosts[0].request, "GET /hub/v1/group/x/ HTTP/1.1");
        assert_eq!(report.stages[1].hosts[1].request, "POST /hub/v1/group/ HTTP/1.1");
        assert!(cluster.none_has("x"));
    }
}

#[test]
fn problem_of_the_node_api_names_its_path() {
    for engine in engines() {
        let bench = Bench::new(engine);
        let report = bench.probe(Api::new("/v2/group/", "/v1/group/{id}/").unwrap());
        let found = problems(&report);
        assert_eq!(found.len(), 1);
        let expected =
            "create answered 404, which the node API does not list: is the path /v2/group/ (paths.collection) right?";
        assert!(found[0].1.starts_with(expected), "{found:#?}");
        bench.assert_clean(&report);
    }
}

#[test]
fn client_without_a_journal_cleans_up_too() {
    for engine in engines() {
        let bench = Bench::new(engine);
        let node = bench.cluster.node(1);
        node.inject(Fault::drop_connection().applying_late(Duration::from_millis(30)).on(Method::Post));
        let retry = support::quick().with_attempts(1);
        let client = builder(bench.cluster.urls()).engine(engine).retry(retry).build().unwrap();
        let report = client.probe(Some("x")).unwrap();
        assert!(!report.is_certified());
        assert!(
            node.wait_until(|node| node.log().any(|entry| entry.method == Method::Post && entry.applied), PATIENCE)
        );
        bench.assert_clean(&report);
        assert!(client.probe(None).unwrap().is_certified());
    }
}
