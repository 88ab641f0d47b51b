//! The crew under a model checker: every order in which its threads can meet, for small sources.
//!
//! `RUSTFLAGS="--cfg loom" cargo test --profile loom --lib --target-dir target/loom loom -- --nocapture`
//!
//! That nothing hangs needs no assertion: a caller that is not woken is a deadlock, which loom reports. In
//! these models only the time moves on that a model lets pass, so neither does a time-out come to the rescue
//! of a lost wake-up. All orders are explored where they are some hundred thousand at most; the other models are bounded
//! to those with four or five pre-emptions, and `LOOM_MAX_PREEMPTIONS` sets another bound.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use loom::thread;

use super::{Crew, Next, Source, Threads, Waits, Worker};
use crate::client::cancel::{Cancel, CancelToken};
use crate::engine::threads::transport::Stalled;
use crate::sync::{self, Model, Pace, now, pass_time};

/// A job is its number.
type Job = usize;

/// A source whose jobs are given one by one, and which decides what follows from the end of each.
struct Script {
    ready: VecDeque<Job>,
    later: Vec<(Instant, Job)>,
    ran: Vec<Job>,
    panicked: Vec<Job>,
    results: usize,
    news: Vec<usize>,
    told_so_far: usize,
    after: fn(&mut Script, Job),
}

impl Script {
    fn new(ready: impl IntoIterator<Item = Job>, after: fn(&mut Script, Job)) -> Self {
        Script {
            ready: ready.into_iter().collect(),
            later: Vec::new(),
            ran: Vec::new(),
            panicked: Vec::new(),
            results: 0,
            news: Vec::new(),
            told_so_far: 0,
            after,
        }
    }

    fn later(mut self, time: u64, job: Job) -> Self {
        self.add_later(time, job);
        self
    }

    /// Jobs come due at whole seconds after the beginning.
    fn add_later(&mut self, time: u64, job: Job) {
        self.later.push((at(time), job));
    }

    fn add_news(&mut self) {
        self.news.push(self.told_so_far);
        self.told_so_far += 1;
    }

    fn have_run(&self, jobs: &[Job]) -> bool {
        jobs.iter().all(|job| self.ran.contains(job))
    }

    fn collect(&mut self) -> Option<Vec<Job>> {
        self.results = self.results.checked_sub(1)?;
        let mut ran = self.ran.clone();
        ran.sort_unstable();
        Some(ran)
    }
}

fn at(time: u64) -> Instant {
    static BEGIN: OnceLock<Instant> = OnceLock::new();
    // The first time it is asked for, no time has passed: every model starts with a script.
    *BEGIN.get_or_init(now) + Duration::from_secs(time)
}

impl Source for Script {
    type Job = Job;
    type Output = Result<Job, Job>;
    type News = usize;

    fn next(&mut self, now: Instant) -> Next<Job> {
        self.later.sort_unstable();
        while let Some((_, job)) = self.later.first().copied().filter(|(due, _)| *due <= now) {
            self.later.remove(0);
            self.ready.push_back(job);
        }
        match self.ready.pop_front() {
            Some(job) => Next::Run(job),
            None => Next::Wait(self.later.first().map(|(due, _)| *due)),
        }
    }

    fn ready(&self) -> usize {
        self.ready.len()
    }

    fn is_waiting(&self) -> bool {
        !self.later.is_empty()
    }

    fn done(&mut self, output: Result<Job, Job>, _: Instant) {
        let (Ok(job) | Err(job)) = output;
        assert!(!self.ran.contains(&job), "job {job} ran twice");
        self.ran.push(job);
        self.panicked.extend(output.err());
        (self.after)(self, job);
    }

    fn has_result(&self) -> bool {
        self.results > 0
    }

    fn has_news(&self) -> bool {
        !self.news.is_empty()
    }

    fn news(&mut self) -> Vec<usize> {
        std::mem::take(&mut self.news)
    }
}

/// Does the jobs of a script.
#[derive(Clone)]
struct Hands {
    run: fn(&Hands, Job),
    gate: Arc<Gate>,
    told: Arc<loom::sync::Mutex<Vec<usize>>>,
    /// Cancelled by whoever is told the first news.
    token: Option<CancelToken>,
    /// Crew that the first delivery drives until the jobs 0 to 2 have run.
    takes_part: Arc<loom::sync::Mutex<Option<Arc<Crew<Script, Hands>>>>>,
}

impl Hands {
    fn new(run: fn(&Hands, Job)) -> Self {
        Hands { run, gate: Arc::default(), told: Arc::default(), token: None, takes_part: Arc::default() }
    }
}

impl Worker<Script> for Hands {
    /// Every job counts as one that keeps its thread waiting.
    fn run(&self, job: Job, stalled: Option<&Stalled>) -> Result<Job, Job> {
        if let Some(stalled) = stalled {
            stalled();
        }
        let ran = catch_unwind(AssertUnwindSafe(|| (self.run)(self, job)));
        match ran {
            Err(bug) if bug.is::<Bug>() => resume_unwind(bug),
            // As in the real worker.
            ran => ran.map(|()| job).map_err(|_| job),
        }
    }

    fn waits(&self, _: &Job) -> Waits {
        Waits::ForHost
    }

    fn answered(&self, _: &Result<Job, Job>) -> Option<Duration> {
        None
    }

    fn tell(&self, news: usize) {
        self.told.lock().unwrap().push(news);
        if let Some(token) = &self.token {
            token.cancel();
        }
        let crew = self.takes_part.lock().unwrap().take();
        if let Some(crew) = crew {
            crew.take_part(|script| script.have_run(&[0, 1, 2]).then_some(()));
        }
    }
}

impl Cancel for Crew<Script, Hands> {
    fn cancel(&self) {
        self.change(|script| script.results += 1);
    }
}

impl Crew<Script, Hands> {
    fn pass_time(&self, to: u64) {
        let _shared = self.lock();
        pass_time(Duration::from_secs(to), &self.changed);
    }

    /// A helper may still wait for something to come due.
    fn end_of_time(&self) {
        self.pass_time(1000);
    }
}

/// What a worker ought to have caught.
struct Bug;

/// What a job waits for that cannot end before another one has run.
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

fn nothing(_: &Hands, _: Job) {}

fn crew(script: Script, hands: Hands, limit: usize) -> Arc<Crew<Script, Hands>> {
    crew_on(threads(limit), script, hands)
}

fn crew_on(threads: Arc<Threads>, script: Script, hands: Hands) -> Arc<Crew<Script, Hands>> {
    Crew::new(script, hands, threads)
}

fn threads(limit: usize) -> Arc<Threads> {
    Arc::new(Threads::new(limit))
}

fn explore(name: &str, threads: bool, preemptions: Option<usize>, model: fn()) {
    let paces = [Pace::Far, Pace::Near, Pace::Lonely, Pace::Fickle];
    sync::explore(name, &paces.map(|pace| Model { threads, pace }), preemptions, model);
}

macro_rules! models {
    ($($(#[$about:meta])* fn $name:ident($($how:tt)*) $body:block)*) => {
        /// All of them, those first that need the fewest steps.
        const MODELS: &[(&str, fn())] = &[$((stringify!($name), $name as fn())),*];
        $($(#[$about])* #[test] fn $name() { models!(@run $name, $body, $($how)*) })*
    };
    (@run $name:ident, $body:block, preemptions: $bound:expr) => { explore(stringify!($name), true, $bound, || $body) };
    (@run $name:ident, $body:block, preemptions: $bound:expr, threads: false) => {
        explore(stringify!($name), false, $bound, || $body)
    };
}

models! {
    /// A helper has the result while the caller goes to sleep.
    fn the_last_result_reaches_a_caller_that_goes_to_sleep(preemptions: None) {
        let script = Script::new([0, 1], |script, _| script.results += usize::from(script.have_run(&[0, 1])));
        let crew = crew(script, Hands::new(nothing), 1);
        assert_eq!(crew.take_part(Script::collect), [0, 1]);
    }

    /// Where the system gives no threads the caller does everything.
    fn a_caller_without_helpers_does_it_all(preemptions: None, threads: false) {
        let script = Script::new([0, 1], |script, _| script.results += usize::from(script.have_run(&[0, 1, 2])));
        let crew = crew(script.later(1, 2), Hands::new(nothing), 2);
        let time = Arc::clone(&crew);
        let time = thread::spawn(move || time.pass_time(1));
        assert_eq!(crew.take_part(Script::collect), [0, 1, 2]);
        time.join().unwrap();
    }

    /// The token may be cancelled before, while or after it is told of the crew, which watches for what
    /// never comes due.
    fn a_cancel_reaches_a_caller_that_watches(preemptions: None) {
        let script = Script::new([], |_, _| ()).later(100, 0);
        let crew = crew(script, Hands::new(nothing), 1);
        let token = CancelToken::new();
        let canceller = token.clone();
        let canceller = thread::spawn(move || canceller.cancel());
        let watched: Arc<dyn Cancel> = Arc::<Crew<Script, Hands>>::clone(&crew);
        token.watch(&watched);
        assert_eq!(crew.take_part(Script::collect), [] as [usize; 0]);
        canceller.join().unwrap();
        crew.end_of_time();
    }

    /// While one thread does a job, the other sleeps until nothing that will come.
    fn a_cancel_reaches_a_caller_with_a_helper(preemptions: Some(4)) {
        let script = Script::new([0, 1], |_, _| ()).later(100, 2);
        let crew = crew(script, Hands::new(nothing), 1);
        let token = CancelToken::new();
        let watched: Arc<dyn Cancel> = Arc::<Crew<Script, Hands>>::clone(&crew);
        token.watch(&watched);
        let canceller = thread::spawn(move || token.cancel());
        let _ = crew.take_part(Script::collect);
        canceller.join().unwrap();
        crew.end_of_time();
    }

    /// One token gives up the calls of two threads.
    fn a_token_reaches_all_its_crews(preemptions: Some(3)) {
        let token = CancelToken::new();
        let call = |token: CancelToken| {
            let script = Script::new([], |_, _| ()).later(100, 0);
            let crew = crew(script, Hands::new(nothing), 1);
            let watched: Arc<dyn Cancel> = Arc::<Crew<Script, Hands>>::clone(&crew);
            token.watch(&watched);
            crew.take_part(Script::collect);
            crew.end_of_time();
        };
        let other = token.clone();
        let other = thread::spawn(move || call(other));
        let canceller = token.clone();
        let canceller = thread::spawn(move || canceller.cancel());
        call(token);
        other.join().unwrap();
        canceller.join().unwrap();
    }

    fn a_panicking_job_is_an_output(preemptions: None) {
        let script = Script::new([0, 1], |script, _| script.results += usize::from(script.have_run(&[0, 1])));
        let crew = crew(script, Hands::new(|_, job| assert!(job != 1, "as planned")), 1);
        let (ran, panicked) = crew.take_part(|script| Some((script.collect()?, script.panicked.clone())));
        assert_eq!((ran.as_slice(), panicked.as_slice()), (&[0, 1][..], &[1][..]));
    }

    /// A bug of ours: it may end the call with a panic, but never let it wait for ever.
    fn a_dead_helper_leaves_nobody_waiting(preemptions: None) {
        let script = Script::new([0, 1], |script, _| script.results += usize::from(script.have_run(&[0, 1])));
        let crew = crew(script, Hands::new(|_, job| if job == 1 { resume_unwind(Box::new(Bug)) }), 1);
        let ended = catch_unwind(AssertUnwindSafe(|| crew.take_part(Script::collect)));
        let said = ended.expect_err("job 1 brings no output");
        let of_ours = said.is::<Bug>() || said.downcast_ref::<&str>().is_some_and(|said| said.starts_with("a bug in"));
        // Anything else is a panic of loom's.
        if !of_ours { resume_unwind(said) }
    }

    /// Three jobs, two helpers, in any order: each runs once, and the result comes when all have run.
    fn every_job_runs_once(preemptions: Some(4)) {
        let script = Script::new([0, 1, 2], |script, _| script.results += usize::from(script.have_run(&[0, 1, 2])));
        let crew = crew(script, Hands::new(nothing), 2);
        assert_eq!(crew.take_part(Script::collect), [0, 1, 2]);
    }

    /// The end of one job makes work for others than those that are awake.
    fn jobs_that_make_jobs(preemptions: Some(5)) {
        let script = Script::new([0, 1], |script, job| match job {
            0 => script.ready.extend([2, 3]),
            _ => script.results += usize::from(script.have_run(&[0, 1, 2, 3])),
        });
        let crew = crew(script, Hands::new(nothing), 1);
        assert_eq!(crew.take_part(Script::collect), [0, 1, 2, 3]);
    }

    /// Each job has news; the last brings the result.
    fn news_are_told_in_order_and_before_the_return(preemptions: None) {
        let script = Script::new([0, 1], |script, _| {
            script.add_news();
            script.results += usize::from(script.have_run(&[0, 1]));
        });
        let hands = Hands::new(nothing);
        let told = Arc::clone(&hands.told);
        let crew = crew(script, hands, 1);
        crew.take_part(Script::collect);
        assert_eq!(*told.lock().unwrap(), [0, 1]);
    }

    /// A hook waits for the work of its own crew, and its thread may have taken one of the jobs before.
    fn a_hook_may_drive_its_own_crew(preemptions: Some(4)) {
        let script = Script::new([0, 1, 2], |script, job| {
            if job == 0 {
                script.add_news();
            }
            script.results += usize::from(script.have_run(&[0, 1, 2]));
        });
        let hands = Hands::new(nothing);
        let (takes_part, told) = (Arc::clone(&hands.takes_part), Arc::clone(&hands.told));
        let crew = crew(script, hands, 1);
        *takes_part.lock().unwrap() = Some(Arc::clone(&crew));
        crew.take_part(|script| script.have_run(&[0, 1, 2]).then_some(()));
        assert_eq!(*told.lock().unwrap(), [0]);
    }

    /// Who is told something may cancel.
    fn who_is_told_may_change_the_source(preemptions: Some(5)) {
        let script = Script::new([0, 1], |script, _| script.add_news()).later(100, 2);
        let token = CancelToken::new();
        let hands = Hands { token: Some(token.clone()), ..Hands::new(nothing) };
        let crew = crew(script, hands, 1);
        let watched: Arc<dyn Cancel> = Arc::<Crew<Script, Hands>>::clone(&crew);
        token.watch(&watched);
        crew.take_part(Script::collect);
        crew.end_of_time();
    }

    /// Job 0 ends when job 1 has run, which comes due only after job 0 has begun, or before.
    fn what_comes_due_runs_beside_a_job_that_hangs(preemptions: Some(4)) {
        let script = Script::new([0], |script, _| script.results += usize::from(script.have_run(&[0, 1])));
        let crew = crew(script.later(1, 1), Hands::new(job_0_waits_for_job_1), 1);
        let time = Arc::clone(&crew);
        let time = thread::spawn(move || time.pass_time(1));
        assert_eq!(crew.take_part(Script::collect), [0, 1]);
        time.join().unwrap();
    }

    /// Two hosts, both to be tried again, at different times; the first then hangs until the second is done.
    fn a_retry_that_hangs_holds_up_no_other(preemptions: Some(4)) {
        let script = Script::new([2, 3], |script, job| match job {
            2 => script.add_later(1, 0),
            3 => script.add_later(2, 1),
            _ => script.results += usize::from(script.have_run(&[0, 1, 2, 3])),
        });
        let crew = crew(script, Hands::new(job_0_waits_for_job_1), 1);
        let time = Arc::clone(&crew);
        let time = thread::spawn(move || { time.pass_time(1); time.pass_time(2); });
        assert_eq!(crew.take_part(Script::collect), [0, 1, 2, 3]);
        time.join().unwrap();
    }

    /// While somebody sleeps until the second hour, another job brings what is due at the first.
    fn a_sooner_time_is_watched_for(preemptions: Some(4)) {
        let script = Script::new([0, 1], |script, job| match job {
            0 => script.add_later(100, 9),
            1 => script.add_later(1, 2),
            _ => script.results += 1,
        });
        let crew = crew(script, Hands::new(nothing), 1);
        let time = Arc::clone(&crew);
        let time = thread::spawn(move || time.pass_time(1));
        assert_eq!(crew.take_part(Script::collect), [0, 1, 2]);
        time.join().unwrap();
        crew.end_of_time();
    }

    /// Whoever does job 1 goes on with job 2, which hangs until job 3 has run: a sleeper is to take that.
    fn a_sleeper_takes_what_the_others_cannot(preemptions: Some(5)) {
        let script = Script::new([0, 1], |script, job| match job {
            1 => script.ready.extend([2, 3]),
            _ => script.results += usize::from(script.have_run(&[0, 1, 2, 3])),
        });
        let job_2_waits_for_job_3 = |hands: &Hands, job| match job {
            2 => hands.gate.pass(),
            3 => hands.gate.open(),
            _ => {}
        };
        let crew = crew(script, Hands::new(job_2_waits_for_job_3), 1);
        assert_eq!(crew.take_part(Script::collect), [0, 1, 2, 3]);
    }

    /// Job 0 hangs until job 2 has run, whatever the pace seems to be after job 1.
    fn a_helper_stays_as_long_as_somebody_is_held_up(preemptions: Some(5)) {
        let script = Script::new([0, 1, 2], |script, _| script.results += usize::from(script.have_run(&[0, 1, 2])));
        let job_0_waits_for_job_2 = |hands: &Hands, job| match job {
            0 => hands.gate.pass(),
            2 => hands.gate.open(),
            _ => {}
        };
        let crew = crew(script, Hands::new(job_0_waits_for_job_2), 1);
        assert_eq!(crew.take_part(Script::collect), [0, 1, 2]);
    }

    /// With the result there is more to do, which ends only after the caller has come back.
    fn a_result_does_not_wait_for_the_next_job(preemptions: None) {
        let script = Script::new([0, 1], |script, _| {
            if script.have_run(&[0, 1]) && script.ran.len() == 2 {
                script.results += 1;
                script.ready.push_back(2);
            }
        });
        let hands = Hands::new(|hands, job| if job == 2 { hands.gate.pass() });
        let gate = Arc::clone(&hands.gate);
        let crew = crew(script, hands, 1);
        assert_eq!(crew.take_part(Script::collect), [0, 1]);
        gate.open();
    }

    /// Two calls of one client, and one thread for both.
    fn two_callers_share_the_threads(preemptions: Some(4)) {
        let threads = threads(1);
        let call = |threads| {
            let script = Script::new([0, 1], |script, _| script.results += usize::from(script.have_run(&[0, 1])));
            let crew = crew_on(threads, script, Hands::new(nothing));
            assert_eq!(crew.take_part(Script::collect), [0, 1]);
        };
        let shared = Arc::clone(&threads);
        let other = thread::spawn(move || call(shared));
        call(threads);
        other.join().unwrap();
    }

    /// Two calls of one client, one thread for both, and in each call a job that hangs until another has run: who
    /// does not get the thread gets it when the other call is through with it.
    fn a_helper_that_was_refused_comes_later(preemptions: Some(3)) {
        let threads = threads(1);
        let call = |threads| {
            let script = Script::new([0, 1], |script, _| script.results += usize::from(script.have_run(&[0, 1])));
            let crew = crew_on(threads, script, Hands::new(job_0_waits_for_job_1));
            assert_eq!(crew.take_part(Script::collect), [0, 1]);
        };
        let shared = Arc::clone(&threads);
        let other = thread::spawn(move || call(shared));
        call(threads);
        other.join().unwrap();
    }

    /// A caller that takes its result and stays away leaves nothing undone.
    fn work_goes_on_without_the_caller(preemptions: Some(4)) {
        let script = Script::new([0, 1, 2], |script, job| script.results += usize::from(job == 0));
        let crew = crew(script, Hands::new(|hands, job| if job == 2 { hands.gate.open() }), 1);
        let gate = Arc::clone(&crew.worker.gate);
        crew.take_part(Script::collect);
        gate.pass();
    }

    /// A bulk whose input waits for what was begun before.
    fn what_is_added_is_done_without_the_caller(preemptions: Some(4)) {
        let script = Script::new([], |script, _| script.results += 1);
        let crew = crew(script, Hands::new(|hands, job| if job == 1 { hands.gate.open() }), 1);
        let gate = Arc::clone(&crew.worker.gate);
        crew.add(|script| script.ready.push_back(0));
        crew.add(|script| script.ready.push_back(1));
        gate.pass();
        let _ = crew.try_take(Script::collect);
        crew.take_part(|script| (script.ran.len() == 2).then_some(()));
    }

    /// Where somebody watches for what comes due, nobody else is called up for what is added.
    fn who_watches_does_what_is_added(preemptions: Some(4)) {
        let script = Script::new([0], |script, _| script.results += 1).later(100, 2);
        let crew = crew(script, Hands::new(|hands, job| if job == 1 { hands.gate.open() }), 1);
        let gate = Arc::clone(&crew.worker.gate);
        crew.take_part(Script::collect);
        crew.add(|script| script.ready.push_back(1));
        gate.pass();
        crew.end_of_time();
    }

    /// What a bulk does: it takes a result, adds work, and takes the next.
    fn a_caller_that_comes_back(preemptions: Some(5)) {
        let script = Script::new([0, 1], |script, _| script.results += 1);
        let crew = crew(script, Hands::new(nothing), 1);
        crew.take_part(Script::collect);
        crew.add(|script| script.ready.push_back(2));
        crew.take_part(Script::collect);
        assert_eq!(crew.take_part(Script::collect), [0, 1, 2]);
    }
}

fn job_0_waits_for_job_1(hands: &Hands, job: Job) {
    match job {
        0 => hands.gate.pass(),
        1 => hands.gate.open(),
        _ => {}
    }
}

/// What a child process of [`planted_bugs_are_found`] runs.
#[test]
#[ignore = "it is all other models once more"]
fn every_model() {
    for (name, model) in MODELS {
        println!("test {name}");
        model();
    }
}

/// A bug that no model notices is a failure of the models.
#[test]
fn planted_bugs_are_found() {
    let (executor, cancel) = (include_str!("../executor.rs"), include_str!("../cancel.rs"));
    let threads = include_str!("threads.rs");
    let models = ["executor::loom_models::every_model", "--exact", "--ignored"];
    sync::plant("silent", "executor.rs", executor, ".notify_all()", &models);
    sync::plant("leaky", "executor.rs", executor, "self.changed.wait", &models);
    sync::plant("leaky", "executor.rs", executor, "self.delivered.wait", &models);
    sync::plant("unborn", "executor/threads.rs", threads, ".spawn(", &models);
    sync::plant("blind", "cancel.rs", cancel, "cancelled.load(", &models);
}
