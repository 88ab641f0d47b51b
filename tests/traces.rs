//! The header `traceparent`: on every request of a call that asks for it, with each engine, and on no other.

use std::sync::{Arc, Mutex};

use cluster_client::{ClusterClient, Engine, OperationOptions};
use mockito::{Matcher, Server};

const TRACE: u128 = 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736;
const SPAN: u64 = 0x00f0_67aa_0ba9_02b7;

/// Returns the method and the header of each request that these options send for a delete.
fn sent(engine: Engine, options: OperationOptions) -> Vec<(String, Option<String>)> {
    let mut server = Server::new();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let _mocks = ["DELETE", "GET"].map(|method| {
        let seen = Arc::clone(&seen);
        let mock = server.mock(method, Matcher::Any).with_status_code_from_request(move |request| {
            let header = request.header("traceparent").first().map(|value| value.to_str().unwrap().to_owned());
            seen.lock().unwrap().push((request.method().to_owned(), header));
            404
        });
        mock.create()
    });
    let client = ClusterClient::builder().hosts([server.url()]).engine(engine).build().unwrap();
    client.with(options).delete_group("g").unwrap().complete().unwrap();
    let sent = seen.lock().unwrap().clone();
    let methods: Vec<&str> = sent.iter().map(|(method, _)| method.as_str()).collect();
    assert!(methods.contains(&"DELETE") && methods.contains(&"GET"), "{methods:?}");
    sent
}

#[test]
fn every_request_of_a_call_has_the_trace_parent_that_it_asks_for() {
    for engine in [Engine::Threads, Engine::Multiplexed] {
        for (sampled, flags) in [(true, "01"), (false, "00")] {
            let value = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-{flags}");
            let sent = sent(engine, OperationOptions::new().trace_parent(TRACE, SPAN, sampled));
            assert!(sent.iter().all(|(_, header)| header.as_ref() == Some(&value)), "{engine:?}: {sent:?}");
        }
    }
}

#[test]
fn no_request_has_a_trace_parent_unless_asked_for_with_valid_ids() {
    for engine in [Engine::Threads, Engine::Multiplexed] {
        let options = OperationOptions::new;
        for options in [options(), options().trace_parent(0, SPAN, true), options().trace_parent(TRACE, 0, true)] {
            let sent = sent(engine, options);
            assert!(sent.iter().all(|(_, header)| header.is_none()), "{engine:?}: {sent:?}");
        }
    }
}
