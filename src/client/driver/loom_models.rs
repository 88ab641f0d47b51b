//! The driver and the engine of threads under a model checker: every interleaving of their threads, for small
//! operations. The machines, the queues, the seat and the pool are the real ones. Only the hosts are simulated.
//!
//! `RUSTFLAGS="--cfg loom" cargo test --locked --profile loom --lib --target-dir target/loom loom -- --nocapture`
//!
//! No assertion is needed against hangs: a thread that is not notified is a deadlock, which loom reports. Time does not
//! pass in these models, so no timeout hides a lost notification. `LOOM_MAX_PREEMPTIONS` sets another bound.

use std::sync::Arc;

use loom::thread;

use super::Driver;
use crate::api::{Body, Reply};
use crate::client::cancel::CancelToken;
use crate::client::invocation::Invocation;
use crate::client::options::CallHeaders;
use crate::client::options::OperationOptions;
use crate::client::{ClusterClient, inner::ClientInner};
use crate::engine::threads::model::set_answer;
use crate::sync::{self, Model};
use crate::values::group::GroupId;
use crate::values::report::Operation;

/// Blocks an exchange until another one has run.
#[derive(Default)]
struct Gate {
    open: loom::sync::Mutex<bool>,
    opened: loom::sync::Condvar,
}

impl Gate {
    fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.opened.notify_all();
    }

    fn pass(&self) {
        let mut open = self.open.lock().unwrap();
        while !*open {
            open = self.opened.wait(open).unwrap();
        }
    }
}

fn absent() -> Reply {
    Reply::Answered { status: 404, retry_after: None, body: Body::Unread }
}

fn client(hosts: usize, threads: usize) -> Arc<ClientInner> {
    let hosts = ["http://a", "http://b", "http://c"][..hosts].iter();
    let client = ClusterClient::builder().hosts(hosts).threads(threads).build().unwrap();
    Arc::clone(&client.inner)
}

fn group() -> GroupId {
    GroupId::parse("g").unwrap()
}

fn invocation(client: &Arc<ClientInner>, options: OperationOptions) -> Invocation {
    Invocation::new(Arc::clone(client), options)
}

/// Asks all hosts for the group. Returns the number of hosts that do not have it.
fn status(client: &Arc<ClientInner>) -> usize {
    invocation(client, OperationOptions::new())
        .run(Operation::Status, group())
        .expect("every id is allowed")
        .absent()
        .count()
}

/// Creates the driver of a bulk, and adds this number of operations.
fn bulk(client: &Arc<ClientInner>, operations: usize) -> Arc<Driver> {
    let invocation = invocation(client, OperationOptions::new());
    let driver = Driver::new(client, 2, false, CallHeaders::default());
    (0..operations).for_each(|position| driver.add(position, invocation.machine(Operation::Status, group())));
    driver
}

fn explore(name: &str, threads: bool, preemptions: Option<usize>, model: fn()) {
    sync::explore(name, &[Model { threads }], preemptions, model);
}

macro_rules! models {
    ($($(#[$about:meta])* fn $name:ident(threads: $threads:expr, preemptions: $bound:expr) $body:block)*) => {
        /// All models, those with the fewest steps first.
        const MODELS: &[(&str, fn())] = &[$((stringify!($name), $name as fn())),*];
        $($(#[$about])* #[test] fn $name() { explore(stringify!($name), $threads, $bound, || $body) })*
    };
}

models! {
    /// If the system refuses threads, the caller sends every request.
    fn status_without_threads_completes(threads: false, preemptions: None) {
        set_answer(|_| absent());
        assert_eq!(status(&client(2, 2)), 2);
    }

    /// The last exchange may complete while the caller is about to block.
    fn result_reaches_a_caller_that_is_about_to_block(threads: true, preemptions: Some(5)) {
        set_answer(|_| absent());
        assert_eq!(status(&client(2, 1)), 2);
    }

    /// If the caller runs the exchange that hangs, another thread has to lead.
    fn exchange_that_hangs_delays_no_other(threads: true, preemptions: Some(4)) {
        let gate = Arc::new(Gate::default());
        set_answer(move |host| {
            if host == 0 { gate.open() } else { gate.pass() }
            absent()
        });
        assert_eq!(status(&client(2, 1)), 2);
    }

    fn cancel_at_any_moment_ends_the_operation(threads: true, preemptions: Some(4)) {
        set_answer(|_| absent());
        let client = client(1, 1);
        let token = CancelToken::new();
        let canceller = token.clone();
        let canceller = thread::spawn(move || canceller.cancel());
        let _ = invocation(&client, OperationOptions::new().cancel(&token)).run(Operation::Status, group());
        canceller.join().unwrap();
    }

    fn bulk_returns_every_result(threads: true, preemptions: Some(2)) {
        set_answer(|_| absent());
        let driver = bulk(&client(1, 2), 2);
        let mut positions = [driver.take().0, driver.take().0];
        positions.sort_unstable();
        assert_eq!(positions, [0, 1]);
        driver.abandon(0);
    }

    /// Both operations are under way when the caller takes the first result and stays away.
    fn bulk_goes_on_without_its_caller(threads: true, preemptions: Some(2)) {
        let (gate, count) = (Arc::new(Gate::default()), Arc::new(loom::sync::Mutex::new(0)));
        let opener = Arc::clone(&gate);
        set_answer(move |_| {
            let mut count = count.lock().unwrap();
            *count += 1;
            if *count == 2 { opener.open() }
            absent()
        });
        let driver = bulk(&client(1, 2), 2);
        driver.take();
        gate.pass();
        driver.take();
        driver.abandon(0);
    }

    /// Time does not pass, so the retry is never sent.
    fn cancel_reaches_a_thread_that_waits_for_a_retry(threads: true, preemptions: Some(3)) {
        set_answer(|_| Reply::Answered { status: 503, retry_after: None, body: Body::Unread });
        let client = client(1, 1);
        let token = CancelToken::new();
        let canceller = token.clone();
        let canceller = thread::spawn(move || canceller.cancel());
        let _ = invocation(&client, OperationOptions::new().cancel(&token)).run(Operation::Status, group());
        canceller.join().unwrap();
    }

    /// A retry is never due, and a thread blocks for it in the seat. The completion of the other operation wakes it.
    fn completion_reaches_a_thread_that_waits_for_a_retry(threads: true, preemptions: Some(2)) {
        let count = Arc::new(loom::sync::Mutex::new(0));
        set_answer(move |_| {
            let mut count = count.lock().unwrap();
            *count += 1;
            if *count == 1 { Reply::Answered { status: 503, retry_after: None, body: Body::Unread } } else { absent() }
        });
        let driver = bulk(&client(1, 2), 2);
        driver.take();
        driver.abandon(1);
    }

    fn two_callers_share_one_thread(threads: true, preemptions: Some(2)) {
        set_answer(|_| absent());
        let client = client(2, 1);
        let shared = Arc::clone(&client);
        let other = thread::spawn(move || assert_eq!(status(&shared), 2));
        assert_eq!(status(&client), 2);
        other.join().unwrap();
    }

    fn abandoned_bulk_ends(threads: true, preemptions: Some(2)) {
        set_answer(|_| absent());
        bulk(&client(1, 2), 2).abandon(2);
    }
}

/// Run by a child process of [`mutants_are_found`].
#[test]
#[ignore = "repeats all other models"]
fn every_model() {
    for (name, model) in MODELS {
        println!("test {name}");
        model();
    }
}

/// Checks the models: each mutant of the code must make one of them fail.
#[test]
fn mutants_are_found() {
    let models = &["client::driver::loom_models::every_model", "--exact", "--ignored"];
    sync::plant("silent", "client/driver.rs", include_str!("../driver.rs"), "self.changed.notify_all()", models);
    sync::plant("leaky", "client/driver.rs", include_str!("../driver.rs"), "self.changed.wait", models);
    sync::plant("silent", "engine/threads.rs", include_str!("../../engine/threads.rs"), "notify_one()", models);
    sync::plant("unborn", "threads/pool.rs", include_str!("../../engine/threads/pool.rs"), ".spawn(", models);
    sync::plant("blind", "client/cancel.rs", include_str!("../cancel.rs"), "cancelled.load(", models);
}
